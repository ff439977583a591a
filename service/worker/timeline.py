"""The interactions of one session that wait for their block, and what became of each.

Knows media time and event ids; knows nothing of engines, sockets or threads. Invariant: every interaction that is
accepted leaves the timeline exactly once: applied, superseded or rejected, or with the end of the session.
"""

import math
from dataclasses import dataclass

from service.errors import ErrorCode
from service.ipc import Interact


class Refusal(Exception):
    """The worker cannot do what was asked; nothing has changed because of it."""

    def __init__(self, code: ErrorCode, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field


@dataclass(slots=True)
class Pending:
    """An accepted interaction that is not decided yet."""

    command: Interact
    arrived_at: float
    """Monotonic seconds."""
    due: float
    """Media seconds: it takes effect at the first block that begins at or after this."""
    order: int
    not_before: float
    """Media seconds that are not changed by it."""
    handed: bool = False
    """The engine has it; it takes effect with the next block unless a newer one supersedes it."""

    @property
    def event_id(self) -> str:
        return self.command.event_id

    @property
    def earliest(self) -> float:
        """Media seconds before which it is not wanted."""
        return max(self.command.at or 0.0, self.not_before)


class Timeline:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: dict[str, Pending] = {}
        self._order = 0

    def accept(self, command: Interact, *, arrived_at: float, position: float) -> Pending:
        """Take an interaction. `position`: media seconds at which the next block (or the one in the making) begins.

        Raises:
            Refusal: too many wait already, or one of the same id does.
        """
        if command.event_id in self._pending:
            raise Refusal(
                ErrorCode.EVENT_ID_CONFLICT,
                f"expected a new event_id, got {command.event_id!r} which is still waiting",
                field="event_id",
            )
        if len(self._pending) >= self._limit:
            raise Refusal(
                ErrorCode.INTERACTIONS_FULL, f"expected at most {self._limit} interactions waiting for their block"
            )
        self._order += 1
        due = max(command.at or 0.0, command.not_before, position)
        pending = Pending(command, arrived_at, due, self._order, command.not_before)
        self._pending[command.event_id] = pending
        return pending

    def due(self, position: float) -> list[Pending]:
        """Those for a block that begins at `position` and that the engine does not have yet, newest first."""
        due = [pending for pending in self._pending.values() if not pending.handed and pending.due <= position]
        return sorted(due, key=lambda pending: (pending.due, pending.order), reverse=True)

    def wanted(self) -> list[float]:
        """From which media time on those are wanted that the engine does not have yet."""
        return [pending.earliest for pending in self._pending.values() if not pending.handed]

    def gone_back(self, position: float, *, lost: bool) -> None:
        """The next block begins at `position` again. `lost`: what the engine had been handed, it has no longer."""
        for pending in self._pending.values():
            if lost:  # what follows is another video
                pending.not_before = 0.0
            pending.due = min(pending.due, max(pending.earliest, position))
            pending.handed = pending.handed and not lost

    def close(self, event_id: str) -> Pending | None:
        """Its fate is decided. None where it was decided before: then there is nothing to report."""
        return self._pending.pop(event_id, None)

    def __len__(self) -> int:
        return len(self._pending)


def blocks_ahead(pending: Pending, *, position: float, block_seconds: float) -> int:
    """Blocks that are made before this one takes effect, as long as no cut shortens one of them."""
    # A block begins at a whole number of frames: the small allowance keeps rounding from counting one more.
    return max(0, math.ceil((pending.due - position) / block_seconds - 1e-6))
