"""The workers that an API process has now: each a seat with its link, its state and the sessions that are in it.

It knows links and what workers say of themselves; nothing of who may have a place. Invariants: a
session sits in one seat at most; a seat is given only while its worker is ready and has room, the one with most room
first; a seat is gone with its link.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from service import ipc
from service.api.worker_link import Listener, WorkerLink


@dataclass(slots=True)
class Opened:
    """A session that waits for a place or has one.

    Without a listener nobody wants it, and its end is waited for. With `start` it has had no place yet.
    """

    listener: Listener | None
    start: ipc.Start | None
    asked: ipc.Start
    """As it was opened."""
    told: bool = False
    """The present worker has been told of it."""

    begun: bool = False
    """A worker has opened it once."""


@dataclass(slots=True, eq=False)
class Seat:
    """One start of one worker. `places`: sessions that it takes at once."""

    link: WorkerLink
    places: int
    heard_at: float
    facts: ipc.Facts | None = None
    """None until it has said READY."""
    heartbeat: ipc.Heartbeat | None = None
    sessions: set[str] = field(default_factory=set)
    full: bool = False
    """It has refused a session for want of room, and has not been heard of since."""

    @property
    def ready(self) -> bool:
        return self.facts is not None

    @property
    def room(self) -> int:
        """Sessions that it takes more. Those of other API processes count as its heartbeat tells them."""
        if not self.ready or self.full:
            return 0
        others = self.heartbeat.others if self.heartbeat is not None else 0
        return max(0, self.places - len(self.sessions) - others)


class Seats:
    def __init__(self) -> None:
        self._seats: list[Seat] = []

    def __iter__(self) -> Iterator[Seat]:
        return iter(tuple(self._seats))

    def __len__(self) -> int:
        return len(self._seats)

    def __contains__(self, seat: Seat) -> bool:
        return seat in self._seats

    def add(self, seat: Seat) -> None:
        self._seats.append(seat)

    def remove(self, seat: Seat) -> None:
        self._seats.remove(seat)

    @property
    def ready(self) -> tuple[Seat, ...]:
        return tuple(seat for seat in self._seats if seat.ready)

    @property
    def room(self) -> int:
        """Sessions for which there is a seat now."""
        return sum(seat.room for seat in self._seats)

    def of(self, session: str) -> Seat | None:
        return next((seat for seat in self._seats if session in seat.sessions), None)

    def seated(self, session: str) -> bool:
        return self.of(session) is not None

    def give(self, session: str) -> Seat | None:
        """The seat of a session: the one that it has, else that with most room; None where there is none."""
        seat = self.of(session)
        if seat is None:
            best = max(self._seats, key=lambda candidate: candidate.room, default=None)
            seat = best if best is not None and best.room > 0 else None
        if seat is not None:
            seat.sessions.add(session)
        return seat

    def leave(self, session: str) -> None:
        for seat in self._seats:
            seat.sessions.discard(session)

    @property
    def facts(self) -> ipc.Facts | None:
        """What the workers, which are all of one preset, say of the model."""
        return next((seat.facts for seat in self._seats if seat.facts is not None), None)

    @property
    def heartbeat(self) -> ipc.Heartbeat | None:
        """All of them together; None before the first."""
        beats = [seat.heartbeat for seat in self._seats if seat.heartbeat is not None]
        if len(beats) < 2:
            return beats[0] if beats else None
        on_device = [beat.device_memory_bytes for beat in beats if beat.device_memory_bytes is not None]
        return ipc.Heartbeat(
            sessions=sum(beat.sessions for beat in beats),
            idle_seconds=max(beat.idle_seconds for beat in beats),
            busy=any(beat.busy for beat in beats),
            blocks=sum(beat.blocks for beat in beats),
            memory_bytes=sum(beat.memory_bytes for beat in beats),
            device_memory_bytes=sum(on_device) if on_device else None,
        )
