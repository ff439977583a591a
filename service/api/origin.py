"""Who may open the WebSocket: the check of Origin, Host and subprotocol, before anything is accepted.

It knows nothing of sessions or of any web framework: headers in, a code or nothing out. Invariant: a
page of another site never gets a connection, also not through a host name that it points at this machine.
"""

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.errors import ErrorCode
from service.protocol import SUBPROTOCOL

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a connection says of itself. Addresses are "" where the transport has none."""

    origin: str | None
    host: str
    client_address: str
    server_address: str
    subprotocols: Sequence[str] = ()


def refusal_of(
    handshake: Handshake, *, allowed_origins: Collection[str], missing_origin_allowed: bool
) -> ErrorCode | None:
    """Why this handshake is refused, or None if it is welcome."""
    if not _origin_allowed(handshake, allowed_origins, missing_origin_allowed):
        return ErrorCode.ORIGIN_FORBIDDEN
    if handshake.subprotocols and SUBPROTOCOL not in handshake.subprotocols:
        return ErrorCode.SUBPROTOCOL_UNSUPPORTED
    return None


def _origin_allowed(handshake: Handshake, allowed_origins: Collection[str], missing_origin_allowed: bool) -> bool:
    if handshake.origin is None:
        return missing_origin_allowed or _is_loopback(handshake.client_address)
    if handshake.origin in allowed_origins:
        return True
    # A name that its owner lets point at 127.0.0.1 makes Origin and Host agree; the name gives it away.
    if _is_loopback(handshake.server_address) and not _is_loopback_name(handshake.host):
        return False
    return _is_same_host(handshake.origin, handshake.host)


def _is_same_host(origin: str, host: str) -> bool:
    """Compares name and port, not scheme: behind a proxy that ends TLS the schemes differ."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    default_port = _DEFAULT_PORTS.get(parts.scheme)
    if default_port is None or not parts.netloc or "@" in parts.netloc:
        return False
    return parts.netloc.lower().removesuffix(default_port) == host.lower().removesuffix(default_port)


def _is_loopback_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
