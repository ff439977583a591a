"""Where faults of GPUs come from: one event at a time, from whatever watches them.

Knows nothing of what is done about them. Invariant: `wait` returns within its time, and never raises for a GPU that
is lost: that is an event too.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class GpuEvent:
    """A fault. `gpu` is the GPU's UUID as NVML says it (`GPU-...`)."""

    gpu: str
    xid: int


class GpuEvents(Protocol):
    def wait(self, seconds: float) -> GpuEvent | None:
        """The next fault; None if none comes in time. Blocks."""

    def close(self) -> None:
        """Nothing is waited for any more."""
