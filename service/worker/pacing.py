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

    Between two reports the playhead is taken to go on, but at most `patience` seconds past the last one.
    """

    def __init__(self, lead_seconds: float, *, patience: float, opened_at: float) -> None:
        if not lead_seconds > 0:
            raise ValueError(f"lead_seconds must be above 0, not {lead_seconds!r}")
        self._lead = lead_seconds
        self._patience = patience
        self._opened_at = opened_at
        self._made = 0.0
        self._zero: float | None = None
        """The moment at which media time 0 is shown; it moves later whenever a chunk comes too late."""
        self._last_seen: float | None = None
        """The last position that was reported."""

    def made(self, seconds: float) -> None:
        self._made += seconds

    def sent(self, pts: float, at: float) -> None:
        if self._last_seen is not None:
            return  # the viewer itself says what a late chunk has cost it
        zero = at - pts
        self._zero = zero if self._zero is None else max(self._zero, zero)

    def seen(self, position: float, at: float) -> None:
        self._last_seen = min(position, self._made)
        self._zero = at - self._last_seen

    def lead(self, at: float) -> float:
        if self._zero is None:
            return self._made
        shown = at - self._zero
        if self._last_seen is not None:
            shown = min(shown, self._last_seen + self._patience)
        return max(self._made - max(shown, 0.0), 0.0)

    @property
    def due_at(self) -> float:
        if self._made < self._lead:
            return self._opened_at
        wanted = self._made - self._lead
        if self._zero is None or (self._last_seen is not None and wanted > self._last_seen + self._patience):
            return math.inf
        return self._zero + wanted

    @property
    def deadline(self) -> float:
        return self._opened_at if self._zero is None else self._zero + self._made


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

    def lead(self, at: float) -> float:
        return 0.0

    @property
    def due_at(self) -> float:
        return self._opened_at

    @property
    def deadline(self) -> float:
        return math.inf
