"""A URL that a client named, taken apart and checked before anything is asked of anybody.

It knows texts; nothing of sockets or of what is fetched. Invariant: what comes out has a scheme that is allowed, a host
without credentials or control characters, and a port; a path of this machine's files never does.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from service.errors import ErrorCode, ProtocolError
from service.outbound.addresses import Address

MOST_URL_CHARS = 2048
_DEFAULT_PORTS = {"https": 443, "http": 80}
_KEPT_IN_PATHS = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: `path` begins with a slash and has the query; `host` is a name or an address in numbers."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def address(self) -> Address | None:
        """The host, where it is an address in numbers."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def parse_target(url: str, *, field: str, http_allowed: bool = False) -> Target:
    """Raises ProtocolError with the code `url_invalid`."""
    if len(url) > MOST_URL_CHARS:
        raise _invalid(f"The URL has {len(url)} characters.", field, expected=f"at most {MOST_URL_CHARS}")
    if not url.isprintable() or " " in url or "\\" in url:
        raise _invalid("The URL has spaces, backslashes or characters that cannot be seen.", field)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid("The URL cannot be read.", field) from None
    allowed = ("https", "http") if http_allowed else ("https",)
    if parts.scheme not in allowed:
        raise _invalid("The URL has another scheme.", field, expected=f"{' or '.join(allowed)}://")
    if parts.username is not None or parts.password is not None:
        raise _invalid("The URL has a user name or a password in it.", field)
    host = _host_of(parts, field)
    if port == 0:
        raise _invalid("The URL has the port 0.", field)
    path = quote(parts.path or "/", safe=_KEPT_IN_PATHS)
    query = f"?{quote(parts.query, safe=_KEPT_IN_PATHS + '?')}" if parts.query else ""
    return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], path + query)


def redirected(target: Target, location: str, *, field: str, http_allowed: bool) -> Target:
    """Where a redirect leads. Raises ProtocolError: from https it goes to https only."""
    secure_stays = http_allowed and not target.secure
    return parse_target(urljoin(target.url, location), field=field, http_allowed=secure_stays)


def _host_of(parts: SplitResult, field: str) -> str:
    host = (parts.hostname or "").rstrip(".")
    if not host or "%" in host:
        raise _invalid("The URL has no host name, or one with a zone.", field)
    if ":" in host:
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise _invalid("The URL's host name cannot be one.", field) from None


def _invalid(message: str, field: str, *, expected: str = "an https URL") -> ProtocolError:
    return ProtocolError(ErrorCode.URL_INVALID, message, field=field, expected=expected)
