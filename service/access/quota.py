"""What a key may have: sessions and jobs at once, seconds of the engine a day; and what it has used.

It knows keys and the clock; of sessions, jobs and chunks their number and cost only. Invariants: what was used is never
counted twice, and lost for one interval at most if the process is killed; who has no key has no limits here.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from service.access.principal import Principal
from service.errors import ErrorCode, SessionError
from service.store.keys import KeyBook, KeyRow, key_of, used_on


class QuotaExceeded(SessionError):
    """`retry_after` is in seconds, None where it depends on the key's own doing."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(ErrorCode.QUOTA_EXCEEDED, message)
        self.retry_after = retry_after


class Quotas:
    """`clock` is in seconds since 1970; a day is one of UTC."""

    def __init__(self, book: KeyBook, *, clock: Callable[[], float] = time.time) -> None:
        self._book = book
        self._clock = clock
        self._pending: defaultdict[tuple[str, str], float] = defaultdict(float)
        """Seconds by day and key that are not in the store yet."""
        self._used: dict[tuple[str, str], float] = {}
        """What the store said last."""
        self._limits: dict[str, float | None] = {}

    async def check_session(self, principal: Principal, *, live: int) -> None:
        """Whether one more session may begin, with `live` of them now. Raises QuotaExceeded."""
        row = await self._key(principal)
        if row is None:
            return
        if row.max_sessions is not None and live >= row.max_sessions:
            raise QuotaExceeded(f"The key has {live} sessions, and may have {row.max_sessions}.")
        await self._check_seconds(row)

    def charge(self, key_id: str | None, seconds: float) -> None:
        """The engine worked so long for this key."""
        if key_id is not None:
            self._pending[self._day(), key_id] += seconds

    def used_up(self, key_id: str | None) -> bool:
        """Whether a key whose session goes on has used its seconds of today, as far as is known here."""
        if key_id is None or (limit := self._limits.get(key_id)) is None:
            return False
        place = (self._day(), key_id)
        return self._used.get(place, 0.0) + self._pending.get(place, 0.0) >= limit

    async def flush(self) -> None:
        """Writes down what was used. Raises SessionError where the store fails; nothing is lost by that."""
        for day in sorted({day for day, _ in self._pending}):
            keys = {key: seconds for (at, key), seconds in self._pending.items() if at == day and seconds > 0}
            if keys:
                used = await self._book.add_use(keys, day)
                for key, seconds in keys.items():
                    self._pending[day, key] -= seconds
                    self._used[day, key] = used[key]
        today = self._day()
        for place in [place for place in self._used if place[0] != today]:
            del self._used[place]
        for place in [place for place, seconds in self._pending.items() if seconds <= 0]:
            del self._pending[place]

    async def _key(self, principal: Principal) -> KeyRow | None:
        if principal.key_id is None:
            return None
        row = await self._book.key(principal.key_id)
        if row is not None:
            self._limits[row.id] = row.gpu_seconds_per_day
        return row

    async def _check_seconds(self, row: KeyRow) -> None:
        limit, day = row.gpu_seconds_per_day, self._day()
        if limit is None:
            return
        self._used[day, row.id] = await self._book.used(row.id, day)
        if self.used_up(row.id):
            raise _seconds_used(limit, self._clock())

    def _day(self) -> str:
        return day_of(self._clock())


def check_new_jobs(
    connection: Connection, principal: Principal, *, unfinished: Callable[[str], int], more: int, now: float
) -> None:
    """Whether a key may have `more` jobs, in the transaction that adds them. Raises QuotaExceeded.

    Args:
        unfinished: the number of jobs of a key that are not finished.
        now: in seconds since 1970.
    """
    row = None if principal.key_id is None else key_of(connection, principal.key_id)
    if row is None:
        return
    if row.max_jobs is not None and (count := unfinished(row.id)) + more > row.max_jobs:
        raise QuotaExceeded(f"The key has {count} jobs, and may have {row.max_jobs}.")
    limit = row.gpu_seconds_per_day
    if limit is not None and used_on(connection, row.id, day=day_of(now)) >= limit:
        raise _seconds_used(limit, now)


def day_of(now: float) -> str:
    """The day of a time in seconds since 1970, in UTC, as accounts have it."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def _seconds_used(limit: float, now: float) -> QuotaExceeded:
    """With the seconds until there is a new day's worth."""
    at = datetime.fromtimestamp(now, UTC)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    wait = (midnight - at).total_seconds()
    return QuotaExceeded(f"The key has used its {limit:g} s of the engine for today.", retry_after=wait)
