"""Who comes: keys and tokens are held against the store, and turned into principals.

It knows the settings and the rows of keys; nothing of headers, sockets or routes. Invariants: where a key is asked for
nobody comes without one; a key that is given has to be good also where none is asked for; a token never opens more than
the key that it stands for, nor longer.
"""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from service.access.keys import (
    KEY_PREFIX,
    digest_of,
    is_right,
    key_parts,
    new_token,
    principal_of_key,
    principal_of_token,
)
from service.access.principal import LOCAL, Principal
from service.config import ServiceConfig
from service.errors import ConfigError, ErrorCode, SessionError
from service.store.keys import KeyBook, TokenRow

OPEN_TO_ALL = "none_anybody_may_do_anything"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought along: a key, a token that opens one WebSocket, or one that opens a path."""

    key: str | None = None
    socket_token: str | None = None
    path_token: str | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    token: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Desk:
    """`clock` is in seconds since 1970."""

    book: KeyBook
    config: ServiceConfig
    clock: Callable[[], float] = field(default=time.time)

    @property
    def exposed(self) -> bool:
        """Whether others than this machine can come, and have to have a key."""
        if self.config.authentication == OPEN_TO_ALL:
            return False
        return self.config.authentication == "always" or not is_loopback(self.config.host)

    def key_needed(self, client_address: str) -> bool:
        """Whether who comes from this address has to have a key: one that a proxy names is not of this machine."""
        if self.config.authentication == OPEN_TO_ALL:
            return False
        return self.exposed or not is_loopback(client_address)

    async def identify(self, given: Credentials, *, client_address: str) -> Principal | None:
        """Who comes; None for nobody in particular where a key is needed. Raises SessionError where it is not good."""
        needed = self.key_needed(client_address)
        # Clients of similar services always send some key: where none is needed, those that are not ours are none.
        if given.key is not None and (needed or given.key.startswith(KEY_PREFIX)):
            return await self._by_key(given.key)
        if given.socket_token is not None:
            return await self._by_token(await self.book.use_token(digest_of(given.socket_token), self.clock()))
        if given.path_token is not None:
            row = await self.book.media_token(digest_of(given.path_token), self.clock())
            return await self._by_token(row if row is not None and row.path == given.path else None)
        return None if needed else LOCAL

    async def issue(self, principal: Principal, *, path: str | None) -> IssuedToken:
        """A token in place of the key: for one WebSocket, or for a path. Raises SessionError where it has too many."""
        config, now = self.config, self.clock()
        until = now + (config.token_seconds if path is None else config.media_token_seconds)
        token, row = new_token(principal, until=until, path=path)
        if not await self.book.add_token(row, now=now, limit=config.max_tokens):
            raise SessionError(ErrorCode.QUOTA_EXCEEDED, f"{config.max_tokens} tokens are good already; wait.")
        return IssuedToken(token, until)

    async def _by_key(self, key: str) -> Principal:
        parts = key_parts(key)
        row = await self.book.key(parts[0]) if parts is not None else None
        if parts is None or row is None or not is_right(parts[1], row, now=self.clock()):
            raise SessionError(ErrorCode.KEY_INVALID, "The key is not known here, or was revoked.")
        return principal_of_key(row)

    async def _by_token(self, row: TokenRow | None) -> Principal:
        if row is not None and row.key is not None and not await self.book.valid(frozenset({row.key}), self.clock()):
            row = None
        if row is None:
            raise SessionError(ErrorCode.TOKEN_INVALID, "The token is not known here, was used, or is too old.")
        return principal_of_token(row)


async def check_exposed(desk: Desk) -> None:
    """Refuses to serve others than this machine while there is no key that they could have. Raises ConfigError."""
    if desk.exposed and not await desk.book.any_valid(desk.clock()):
        raise ConfigError(
            f"whoever comes to {desk.config.host} needs a key, and there is none: make one with `longtake keys create`,"
            f' listen on 127.0.0.1, or set authentication = "{OPEN_TO_ALL}"'
        )


def is_loopback(address: str) -> bool:
    """Whether an address, or the name of this machine for itself, is of the loopback."""
    if address.lower() in ("localhost", "ip6-localhost"):
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
