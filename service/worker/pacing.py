"""When the next block of a session is wanted: a clock of seconds made against seconds shown.

Knows numbers only: no session, no engine, no thread; the present time is always an argument (monotonic seconds).
Invariant: under `RealtimePace` a session is never made more than the lead ahead of its viewer, also after a stall:
a viewer who has waited goes on from where the picture stood, so nothing is made or shown faster to catch up. Where
the viewer stands is what it reports or, as long as it reports nothing, the time since the first chunk was sent.
"""

import math
from typing import Protocol


class Pace(Protocol):
    """What the scheduler asks of a session's clock."""

    def made(self, seconds: float) -> None:
        """A block of so many seconds of media was made."""

    def sent(self, pts: float, at: float) -> None:
        """The chunk that begins at media time `pts` was sent at `at`."""

    def seen(self, position: float, at: float) -> None:
        """At `at` the viewer reported that it shows media time `position`."""

    def urge(self) -> None:
        """The next block is wanted at once, if it is one too many for the lead, too."""

    def take_back(self, position: float) -> None:
        """What is made ends there: the rest was not seen, and the viewer goes on as it does."""

    def jump(self, position: float, at: float) -> None:
        """The viewer is to go on from there."""

    def pause(self, at: float) -> None:
        """The picture stands still."""

    def resume(self, at: float) -> None:
        """It goes on from where it stood."""

    def shown(self, at: float) -> float | None:
        """The media time on screen; None where nobody watches by the clock."""

    def lead(self, at: float) -> float:
        """Media seconds that are made and not shown yet; 0 where nobody watches by the clock."""

    @property
    def due_at(self) -> float:
        """From when on the next block may be made. Infinite: not before something is sent or reported."""

    @property
    def deadline(self) -> float:
        """When the viewer runs out of pictures. Infinite: nobody waits by the clock."""


class RealtimePace:
    """Media is shown at its own speed; the server stays `lead_seconds` ahead of that.

    Between two reports the playhead is taken to go on, but at most `patience` seconds past the last one. A block
    that is urged may be `extra` seconds more ahead, so that prompts are answered at once and never add up to a lead.
    """

    def __init__(
        self, lead_seconds: float, *, patience: float, opened_at: float, extra: float = 0.0, position: float = 0.0
    ) -> None:
        if not lead_seconds > 0:
            raise ValueError(f"lead_seconds must be above 0, not {lead_seconds!r}")
        self._usual = lead_seconds
        self._extra = extra
        self._patience = patience
        self._opened_at = opened_at
        self._made = position
        self._base = position
        """Where the viewer begins, or was sent last."""
        self._urged = False
        self._jumped = False
        self._paused_at: float | None = None
        self._zero: float | None = None
        """The moment at which media time 0 is shown; it moves later whenever a chunk comes too late."""
        self._last_seen: float | None = None
        """The last position that was reported."""

    def made(self, seconds: float) -> None:
        self._made += seconds
        self._urged = False

    def sent(self, pts: float, at: float) -> None:
        if self._last_seen is not None:
            return  # the viewer itself says what a late chunk has cost it
        zero = self._moving(at) - pts
        self._zero = zero if self._zero is None else max(self._zero, zero)

    def seen(self, position: float, at: float) -> None:
        if self._jumped and position > self._made + self._extra:
            return  # of before the jump: nobody can have seen that of what is made now
        self._jumped = False
        self._last_seen = min(position, self._made)
        self._zero = self._moving(at) - self._last_seen

    def urge(self) -> None:
        self._urged = True

    def take_back(self, position: float) -> None:
        self._made = position
        if self._last_seen is not None:
            self._last_seen = min(self._last_seen, position)

    def jump(self, position: float, at: float) -> None:
        self._made = self._base = position
        self._opened_at = at
        self._zero = self._last_seen = None
        self._jumped = True

    def pause(self, at: float) -> None:
        if self._paused_at is None:
            self._paused_at = at

    def resume(self, at: float) -> None:
        if self._paused_at is not None and self._zero is not None:
            self._zero += at - self._paused_at
        self._paused_at = None

    def shown(self, at: float) -> float:
        if self._zero is None:
            return self._base
        shown = self._moving(at) - self._zero
        if self._last_seen is not None:
            shown = min(shown, self._last_seen + self._patience)
        return min(max(shown, self._base), self._made)

    def lead(self, at: float) -> float:
        return self._made - self.shown(at)

    @property
    def due_at(self) -> float:
        lead = self._usual + (self._extra if self._urged else 0.0)
        if self._made - self._base < lead:
            return self._opened_at
        wanted = self._made - lead
        if self._zero is None or (self._last_seen is not None and wanted > self._last_seen + self._patience):
            return math.inf
        return self._zero + wanted

    @property
    def deadline(self) -> float:
        return self._opened_at if self._zero is None else self._zero + self._made

    def _moving(self, at: float) -> float:
        """The clock of the picture, which stands while it is paused."""
        return at if self._paused_at is None else self._paused_at


class UnpacedPace:
    """As fast as the client takes it, after everybody who watches by the clock."""

    def __init__(self, *, opened_at: float) -> None:
        self._opened_at = opened_at

    def made(self, seconds: float) -> None:
        """Nothing follows from it."""

    def sent(self, pts: float, at: float) -> None:
        """Nothing follows from it."""

    def seen(self, position: float, at: float) -> None:
        """Nothing follows from it."""

    def urge(self) -> None:
        """Every block is due."""

    def take_back(self, position: float) -> None:
        """Nothing follows from it."""

    def jump(self, position: float, at: float) -> None:
        """Nothing follows from it."""

    def pause(self, at: float) -> None:
        """Nothing follows from it."""

    def resume(self, at: float) -> None:
        """Nothing follows from it."""

    def shown(self, at: float) -> None:
        return None

    def lead(self, at: float) -> float:
        return 0.0

    @property
    def due_at(self) -> float:
        return self._opened_at

    @property
    def deadline(self) -> float:
        return math.inf
