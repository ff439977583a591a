"""Names to addresses: asked once for each request, and judged before anything connects.

It knows a resolver and a rule; nothing of HTTP. Invariant: what comes out is allowed by the rule, all of it: a name
that has one address outside and one inside is refused, since which of them is used would be chance.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from service.errors import ErrorCode, ProtocolError
from service.outbound.addresses import Address, AddressRule
from service.outbound.targets import Target

Resolver = Callable[[str], Awaitable[tuple[Address, ...]]]
"""The addresses of a host name. Raises OSError."""

_MOST_ADDRESSES = 32


async def resolve_name(host: str) -> tuple[Address, ...]:
    """As the machine's own resolver has it, `/etc/hosts` included."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(place[4][0]).partition("%")[0] for place in found)
    return tuple(ipaddress.ip_address(text) for text in texts)


async def addresses_of(
    target: Target, rule: AddressRule, *, resolver: Resolver = resolve_name, field: str = ""
) -> tuple[Address, ...]:
    """Where to connect for a target, at least one. Raises ProtocolError with `url_failed` or `url_forbidden`."""
    given = target.address
    try:
        found = (given,) if given is not None else (await resolver(target.host))[:_MOST_ADDRESSES]
    except (OSError, UnicodeError):
        found = ()
    if not found:
        message = f"The host {target.host} has no address."
        raise ProtocolError(ErrorCode.URL_FAILED, message, field=field)
    if not all(rule.allows(address) for address in found):
        # The address is not named: what a name means inside is nobody's business outside.
        message = f"The host {target.host} is not on the public internet."
        raise ProtocolError(ErrorCode.URL_FORBIDDEN, message, field=field, expected="a public address")
    return found
