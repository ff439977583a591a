"""How many workers a cluster should have, from who waits and who is late.

Integers and seconds only; knows nothing of Ray, workers or sessions. Invariants: never fewer than the least, never more
than the most; one comes at once for those who wait, one goes only after a while in which it was not needed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    least: int
    most: int
    places: int
    """Sessions at once in one worker."""
    late_share: float
    """Chunks of a hundred that may be late before another worker is wanted, as a share."""
    idle_seconds: float
    """How long one has to be more than enough before it goes."""


@dataclass(frozen=True, slots=True)
class Load:
    """Of the whole cluster: sessions that run and that wait; chunks that came, and came late, since the last look."""

    sessions: int
    waiting: int
    chunks: int
    late: int


class Scaling:
    """`wanted` is asked again and again; it remembers since when there are too many."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._too_many_since: float | None = None

    def wanted(self, load: Load, *, workers: int, now: float) -> int:
        """How many there should be now, of `workers` that there are."""
        bounds = self._bounds
        needed = -(-(load.sessions + load.waiting) // bounds.places)
        if load.chunks and load.late / load.chunks > bounds.late_share:
            needed = max(needed, workers + 1)
        needed = min(max(needed, bounds.least), bounds.most)
        if needed >= workers:
            self._too_many_since = None
            return needed
        if self._too_many_since is None:
            self._too_many_since = now
        if now - self._too_many_since < bounds.idle_seconds:
            return workers
        self._too_many_since = now  # one at a time
        return workers - 1
