"""What clients may have the service fetch or send: bounded in time, size and steps, checked at each step.

It knows targets, resolving and exchanges; nothing of pictures or of jobs. Invariants: every hop of a redirect is
resolved once, judged, and connected to at the address that was judged; what goes wrong is a ProtocolError that names
the field; a message never holds what an inner machine answered.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError
from service.outbound.addresses import AddressRule, address_rule
from service.outbound.exchange import Answer, ExchangeFailed, Outgoing, TooLarge, exchange
from service.outbound.resolving import Resolver, addresses_of, resolve_name
from service.outbound.targets import Target, parse_target, redirected

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """The way out. `tls` is the machine's own trust unless a test brings another."""

    rule: AddressRule
    http_allowed: bool = False
    timeout: float = 10.0
    redirects: int = 3
    resolver: Resolver = resolve_name
    tls: ssl.SSLContext | None = None

    def check(self, url: str, *, field: str) -> Target:
        """What can be judged of a URL without asking anybody. Raises ProtocolError."""
        target = parse_target(url, field=field, http_allowed=self.http_allowed)
        address = target.address
        if address is not None and not self.rule.allows(address):
            message = f"The host {target.host} is not on the public internet."
            raise ProtocolError(ErrorCode.URL_FORBIDDEN, message, field=field, expected="a public address")
        return target

    async def vet(self, url: str, *, field: str) -> None:
        """Whether something may be sent there later, as things stand. Raises ProtocolError."""
        target = self.check(url, field=field)
        try:
            async with asyncio.timeout(self.timeout):
                await addresses_of(target, self.rule, resolver=self.resolver, field=field)
        except TimeoutError:
            raise _failed(f"The host {target.host} was not found within {self.timeout:g} s.", field) from None

    async def fetch(self, url: str, *, field: str, max_bytes: int) -> bytes:
        """The body that a URL leads to, following redirects. Raises ProtocolError."""
        target = self.check(url, field=field)
        try:
            async with asyncio.timeout(self.timeout):
                return _body_of(await self._follow(target, max_bytes=max_bytes, field=field), field)
        except TimeoutError:
            raise _failed(f"Nothing whole came within {self.timeout:g} s.", field) from None

    async def _follow(self, target: Target, *, max_bytes: int, field: str) -> Answer:
        """The first answer that leads nowhere else."""
        for _ in range(self.redirects + 1):
            answer = await self._ask(target, Outgoing(max_bytes=max_bytes), field=field)
            if answer.status not in _REDIRECTS:
                return answer
            location = answer.headers.get("location", "")
            target = redirected(target, location, field=field, http_allowed=self.http_allowed)
        raise _failed(f"The URL redirects more than {self.redirects} times.", field)

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str], field: str) -> int:
        """Send a body and return the status of the answer. Redirects are not followed. Raises ProtocolError."""
        target = self.check(url, field=field)
        request = Outgoing(method="POST", headers=headers, body=body, max_bytes=_MOST_ANSWER_BYTES)
        try:
            async with asyncio.timeout(self.timeout):
                return (await self._ask(target, request, field=field)).status
        except TimeoutError:
            raise _failed(f"No answer came within {self.timeout:g} s.", field) from None

    async def _ask(self, target: Target, request: Outgoing, *, field: str) -> Answer:
        addresses = await addresses_of(target, self.rule, resolver=self.resolver, field=field)
        try:
            return await exchange(target, addresses, request=request, tls=self.tls)
        except TooLarge:
            message = f"What the URL leads to has more than {request.max_bytes} bytes."
            raise ProtocolError(ErrorCode.URL_TOO_LARGE, message, field=field) from None
        except ExchangeFailed as error:
            raise _failed(f"The host {target.host} did not answer: {error}.", field) from None


def outbound_of(config: ServiceConfig) -> Outbound:
    """As the settings have it. Raises ConfigError."""
    return Outbound(
        rule=address_rule(config.outbound_networks),
        http_allowed=config.outbound_http,
        timeout=config.outbound_timeout,
        redirects=config.outbound_redirects,
    )


def _body_of(answer: Answer, field: str) -> bytes:
    if answer.status != 200:
        raise _failed(f"The URL answered with the status {answer.status}.", field)
    return answer.body


def _failed(message: str, field: str) -> ProtocolError:
    return ProtocolError(ErrorCode.URL_FAILED, message, field=field)
