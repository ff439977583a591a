"""Who has a place, who waits for one, and for how long: places, leases and the waiting room, without I/O.

It knows nothing of connections, workers or clocks: names and the time go in, decisions come out. Invariants:
never more sessions than places (unless places are taken away, and then nobody is let in until they fit); those
who wait are let in in the order in which they came; whoever left or ran out of time is out, once.
"""

import math
from collections import deque
from dataclasses import dataclass

from service.errors import CapacityError


@dataclass(slots=True)
class _Lease:
    """The right to a place until `until`. One that ends is not renewed any more."""

    until: float
    ending: bool = False


@dataclass(slots=True)
class _Waiting:
    session: str
    until: float
    told: int = 0
    """The position that was last reported; 0 before the first report."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a session stands in the waiting room: 1 is next."""

    session: str
    position: int
    waiting: int


class Admission:
    def __init__(self, *, places: int, room: int, lease_seconds: float, waiting_timeout: float) -> None:
        self.places = places
        self._room = room
        self._lease_seconds = lease_seconds
        self._waiting_timeout = waiting_timeout
        self._leases: dict[str, _Lease] = {}
        self._queue: deque[_Waiting] = deque()

    @property
    def active(self) -> int:
        """Places that are taken, also by sessions that are ending."""
        return len(self._leases)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """True when one more session would be refused."""
        return not self._has_place() and len(self._queue) >= self._room

    def holds(self, session: str) -> bool:
        return session in self._leases

    def ask(self, session: str, now: float) -> bool:
        """True: the session has a place. False: it waits, and `admit` will name it in its turn.

        Raises:
            CapacityError: there is no place, neither to run nor to wait.
        """
        assert session not in self._leases, f"{session} has a place already"
        assert all(waiting.session != session for waiting in self._queue), f"{session} waits already"
        if self._has_place():
            self._leases[session] = _Lease(now + self._lease_seconds)
            return True
        if len(self._queue) >= self._room:
            waiting = f", and {len(self._queue)} sessions wait" if self._room else ""
            raise CapacityError(f"All {self.places} places are taken{waiting}.")
        self._queue.append(_Waiting(session, now + self._waiting_timeout))
        return False

    def admit(self, now: float) -> tuple[str, ...]:
        """Gives free places to those who wait, in order, and says to whom."""
        admitted: list[str] = []
        while self._queue and len(self._leases) < self.places:
            session = self._queue.popleft().session
            self._leases[session] = _Lease(now + self._lease_seconds)
            admitted.append(session)
        return tuple(admitted)

    def renew(self, session: str, now: float) -> None:
        """The session shows life. One that is ending, waiting or unknown has nothing to renew."""
        lease = self._leases.get(session)
        if lease is not None and not lease.ending:
            lease.until = now + self._lease_seconds

    def end(self, session: str, now: float, *, within: float) -> None:
        """The session is ending: its place is free after `within` seconds even if nobody says so."""
        lease = self._leases.get(session)
        if lease is not None and not lease.ending:
            lease.ending = True
            lease.until = now + within

    def put_back(self, session: str, now: float) -> None:
        """A place that was given is not there after all: the session is the next to be let in."""
        if self._leases.pop(session, None) is not None:
            self._queue.appendleft(_Waiting(session, now + self._waiting_timeout))

    def leave(self, session: str) -> bool:
        """The session gives up its place, or its turn. False: it had neither."""
        if self._leases.pop(session, None) is not None:
            return True
        for waiting in self._queue:
            if waiting.session == session:
                self._queue.remove(waiting)
                return True
        return False

    def expired(self, now: float) -> tuple[str, ...]:
        """Sessions with a lease that has run out. They keep their places until `end` or `leave`."""
        return tuple(session for session, lease in self._leases.items() if lease.until <= now)

    def weary(self, now: float) -> tuple[str, ...]:
        """Sessions that have waited for too long. They keep their turns until they `leave`."""
        return tuple(waiting.session for waiting in self._queue if waiting.until <= now)

    def is_ending(self, session: str) -> bool:
        lease = self._leases.get(session)
        return lease is not None and lease.ending

    def deadline(self) -> float:
        """When `expired` or `weary` will next have something to say."""
        times = [lease.until for lease in self._leases.values()] + [waiting.until for waiting in self._queue]
        return min(times, default=math.inf)

    def moved(self) -> tuple[Position, ...]:
        """Those whose position has changed since they were last named here."""
        count = len(self._queue)
        moved: list[Position] = []
        for position, waiting in enumerate(self._queue, 1):
            if waiting.told != position:
                waiting.told = position
                moved.append(Position(waiting.session, position, count))
        return tuple(moved)

    def clear(self) -> None:
        """Everybody is out."""
        self._leases.clear()
        self._queue.clear()

    def _has_place(self) -> bool:
        """Nobody passes those who wait."""
        return not self._queue and len(self._leases) < self.places
