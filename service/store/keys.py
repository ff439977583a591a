"""Keys, their use and their tokens in the store: rows in, rows out.

Knows SQL, and the writer and the readers of the store; nothing of scopes or of what a key allows. Invariants: use only
grows, by sums, so that several processes may add to it; a token that opens one thing is gone with its use.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update

from service.store.keys_schema import ACCESS_TOKENS, KEY_USAGE, KEYS

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """One key. Times are seconds since 1970; a limit that is None is none. `scopes` are words with blanks between."""

    id: str
    digest: str
    tenant: str
    name: str
    scopes: str
    created_at: float
    max_sessions: int | None = None
    max_jobs: int | None = None
    gpu_seconds_per_day: float | None = None
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """`path` is what it opens, again and again; without one it opens one WebSocket, once."""

    digest: str
    key: str | None
    tenant: str
    scopes: str
    expires_at: float
    path: str | None = None


class _Does(Protocol):
    def __call__(self, work: Callable[[Connection], T], /) -> Awaitable[T]: ...


_KEY = tuple(KeyRow.__dataclass_fields__)
_TOKEN = tuple(TokenRow.__dataclass_fields__)


class KeyBook:
    """`write` commits what it is given before it returns, `read` sees whole commits."""

    def __init__(self, write: _Does, read: _Does) -> None:
        self._write = write
        self._read = read

    async def key(self, key: str) -> KeyRow | None:
        return await self._read(lambda connection: key_of(connection, key))

    async def any_valid(self, now: float) -> bool:
        """Whether there is a key with which anybody could come."""
        return await self._read(lambda connection: any(_valid(row, now) for row in all_keys(connection)))

    async def valid(self, keys: frozenset[str], now: float) -> frozenset[str]:
        """Which of these can still be used."""

        def work(connection: Connection) -> frozenset[str]:
            rows = connection.execute(select(KEYS).where(KEYS.c.id.in_(keys)))
            found = [KeyRow(**{name: row._mapping[name] for name in _KEY}) for row in rows]
            return frozenset(row.id for row in found if _valid(row, now))

        return await self._read(work)

    async def used(self, key: str, day: str) -> float:
        """Seconds of the engine on this day."""

        return await self._read(lambda connection: used_on(connection, key, day=day))

    async def add_use(self, seconds: Mapping[str, float], day: str) -> dict[str, float]:
        """Adds to the use of each key, and says what it is now. A key that is gone has none."""

        def work(connection: Connection) -> dict[str, float]:
            return {key: charge_key(connection, key, day=day, seconds=more) for key, more in seconds.items()}

        return await self._write(work)

    async def add_token(self, token: TokenRow, *, now: float, limit: int) -> bool:
        """Keeps a token, and drops those that are too old. False where its key has `limit` of them already."""

        def work(connection: Connection) -> bool:
            connection.execute(delete(ACCESS_TOKENS).where(ACCESS_TOKENS.c.expires_at <= now))
            mine = ACCESS_TOKENS.c.key.is_(None) if token.key is None else ACCESS_TOKENS.c.key == token.key
            count = connection.execute(select(func.count()).select_from(ACCESS_TOKENS).where(mine)).scalar_one()
            if count >= limit:
                return False
            connection.execute(insert(ACCESS_TOKENS).values(**{name: getattr(token, name) for name in _TOKEN}))
            return True

        return await self._write(work)

    async def use_token(self, digest: str, now: float) -> TokenRow | None:
        """The token that opens one WebSocket; it is gone then, whoever asks first has it."""

        def work(connection: Connection) -> TokenRow | None:
            token = _token(connection, digest, now)
            if token is None or token.path is not None:
                return None
            gone = connection.execute(delete(ACCESS_TOKENS).where(ACCESS_TOKENS.c.digest == digest))
            return token if gone.rowcount == 1 else None

        return await self._write(work)

    async def media_token(self, digest: str, now: float) -> TokenRow | None:
        """The token that opens a path."""

        def work(connection: Connection) -> TokenRow | None:
            token = _token(connection, digest, now)
            return token if token is not None and token.path is not None else None

        return await self._read(work)


def add_key(connection: Connection, key: KeyRow) -> None:
    connection.execute(insert(KEYS).values(**{name: getattr(key, name) for name in _KEY}))


def all_keys(connection: Connection) -> tuple[KeyRow, ...]:
    """The oldest first, those that were revoked too."""
    rows = connection.execute(select(KEYS).order_by(KEYS.c.created_at, KEYS.c.id))
    return tuple(KeyRow(**{name: row._mapping[name] for name in _KEY}) for row in rows)


def key_of(connection: Connection, key: str) -> KeyRow | None:
    row = connection.execute(select(KEYS).where(KEYS.c.id == key)).first()
    return None if row is None else KeyRow(**{name: row._mapping[name] for name in _KEY})


def revoke_key(connection: Connection, key: str, *, at: float) -> bool:
    """With its tokens. False where there is no such key, or it was revoked before."""
    connection.execute(delete(ACCESS_TOKENS).where(ACCESS_TOKENS.c.key == key))
    revoked = update(KEYS).where(KEYS.c.id == key, KEYS.c.revoked_at.is_(None)).values(revoked_at=at)
    return connection.execute(revoked).rowcount == 1


def used_on(connection: Connection, key: str, *, day: str) -> float:
    """Seconds of the engine that a key has used on a day."""
    query = select(KEY_USAGE.c.gpu_seconds).where(KEY_USAGE.c.key == key, KEY_USAGE.c.day == day)
    return float(connection.execute(query).scalar() or 0.0)


def use_of_day(connection: Connection, day: str) -> dict[str, float]:
    """Seconds of the engine that each key has used on this day."""
    query = select(KEY_USAGE.c.key, KEY_USAGE.c.gpu_seconds).where(KEY_USAGE.c.day == day)
    return {str(row.key): float(row.gpu_seconds) for row in connection.execute(query)}


def charge_key(connection: Connection, key: str, *, day: str, seconds: float) -> float:
    """Adds to what a key has used on a day, and says what it is now. A key that is gone has none."""
    mine = (KEY_USAGE.c.key == key) & (KEY_USAGE.c.day == day)
    more = update(KEY_USAGE).where(mine).values(gpu_seconds=KEY_USAGE.c.gpu_seconds + seconds)
    if connection.execute(more).rowcount == 0:
        if key_of(connection, key) is None:
            return 0.0
        connection.execute(insert(KEY_USAGE).values(key=key, day=day, gpu_seconds=seconds))
    return float(connection.execute(select(KEY_USAGE.c.gpu_seconds).where(mine)).scalar_one())


def _token(connection: Connection, digest: str, now: float) -> TokenRow | None:
    query = select(ACCESS_TOKENS).where(ACCESS_TOKENS.c.digest == digest, ACCESS_TOKENS.c.expires_at > now)
    row = connection.execute(query).first()
    return None if row is None else TokenRow(**{name: row._mapping[name] for name in _TOKEN})


def _valid(key: KeyRow, now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)
