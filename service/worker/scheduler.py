"""Whose block is next, and when is it due: earliest deadline first, in turn among equals, jobs in the gaps.

Integers and floats only; knows nothing of torch, engines or messages. Invariants: a session that is not ready, or
not due yet, is never chosen; among sessions with the same deadline the one that has waited for the most turns goes
first, so that unpaced sessions (deadline infinite) share alike what the paced ones leave. A turn of an unpaced session
is `turn_blocks` blocks in a row unless somebody paced is due, so that what a change of turns costs has a bound. A
background session is chosen only while no other is due and none would come too late for its viewer by it.
"""

import math
from typing import Generic, Protocol, TypeVar


class Schedulable(Protocol):
    @property
    def ready(self) -> bool:
        """A block may be made now, as far as the session's state and credits go."""

    @property
    def background(self) -> bool:
        """A job: nobody watches it."""

    @property
    def due_at(self) -> float: ...

    @property
    def deadline(self) -> float: ...


S = TypeVar("S", bound=Schedulable)


class Scheduler(Generic[S]):
    def __init__(self) -> None:
        self._last_turn: dict[S, int] = {}
        self._turn = 0
        self.turn_blocks = 1
        self.block_seconds = 0.0
        """What a block takes, about."""
        self._holder: S | None = None
        self._held = 0
        """Blocks that `_holder` has had in a row."""

    def add(self, session: S) -> None:
        """A newcomer stands behind those of its deadline that are waiting already."""
        assert session not in self._last_turn, "a session is added once"
        self._turn += 1
        self._last_turn[session] = self._turn

    def remove(self, session: S) -> None:
        del self._last_turn[session]
        if session is self._holder:
            self._holder = None

    def last_turn(self, session: S) -> int:
        """Larger: later."""
        return self._last_turn[session]

    def next(self, now: float) -> S | None:
        """The session whose block is to be made now, or None. Choosing it counts as its turn."""
        due = [session for session in self._ready() if session.due_at <= now]
        watched = [session for session in due if not session.background]
        if not watched and now < self._gap_from(now):
            return None
        due = watched or due
        if not due:
            return None
        chosen = min(due, key=lambda session: (session.deadline, self._last_turn[session]))
        holder = self._holder
        if holder is not None and holder in due and chosen.deadline == math.inf and self._held < self.turn_blocks:
            chosen = holder
        self._held = self._held + 1 if chosen is holder else 1
        self._holder = chosen
        self._turn += 1
        self._last_turn[chosen] = self._turn
        return chosen

    def next_due_at(self, now: float) -> float:
        """When somebody is due if nothing changes until then; infinite if only a message can change it."""
        jobs = [session.due_at for session in self._ready() if session.background]
        watched = [session.due_at for session in self._ready() if not session.background]
        return min([*watched, *(max(due_at, self._gap_from(now)) for due_at in jobs)], default=math.inf)

    def _ready(self) -> list[S]:
        return [session for session in self._last_turn if session.ready]

    def _gap_from(self, now: float) -> float:
        """From when on a job's block may be made: `now`, or when a session is due that would be late by it."""
        waiting = [session for session in self._ready() if not session.background and session.due_at < math.inf]
        in_line = enumerate(sorted(waiting, key=lambda session: session.deadline), start=2)
        # The job's block, and one of each session up to this one.
        late = [session for place, session in in_line if session.deadline < now + place * self.block_seconds]
        return min((session.due_at for session in late if session.due_at < now + self.block_seconds), default=now)
