"""What is done about each fault that a GPU reports by its number (NVIDIA calls them Xid).

Numbers and their meaning: NVIDIA's "Xid Errors" catalogue for Ampere and later. Knows nothing of NVML, workers or
processes. Invariant: a fault that may have left memory or links wrong never leads back to the same GPU by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Remedy(StrEnum):
    """What a fault leads to."""

    RESTART = "restart"
    """The worker is replaced: its context is lost, the GPU is not."""
    FENCE = "fence"
    """The worker ends and no other is started on this GPU, until somebody has reset or replaced it."""
    WARN = "warn"
    """It is written down."""


@dataclass(frozen=True, slots=True)
class Fault:
    remedy: Remedy
    meaning: str


XID_POLICY: Mapping[int, Fault] = {
    13: Fault(Remedy.RESTART, "a kernel raised an exception"),
    31: Fault(Remedy.RESTART, "a kernel touched memory that is not its own"),
    43: Fault(Remedy.RESTART, "the GPU stopped a context that went wrong"),
    45: Fault(Remedy.RESTART, "a context was cleaned up after an earlier fault"),
    48: Fault(Remedy.FENCE, "memory has an error that cannot be corrected"),
    63: Fault(Remedy.WARN, "a row of memory will be remapped at the next reset"),
    64: Fault(Remedy.FENCE, "a row of memory could not be remapped"),
    69: Fault(Remedy.RESTART, "a kernel raised an exception of its class"),
    74: Fault(Remedy.FENCE, "a link between GPUs failed"),
    79: Fault(Remedy.FENCE, "the GPU is no longer on the bus"),
    92: Fault(Remedy.WARN, "memory corrects many errors"),
    94: Fault(Remedy.RESTART, "memory had an error that was contained in one context"),
    95: Fault(Remedy.FENCE, "memory had an error that was not contained"),
    109: Fault(Remedy.RESTART, "a context could not be switched in time"),
    119: Fault(Remedy.FENCE, "the GPU's own processor does not answer"),
    120: Fault(Remedy.FENCE, "the GPU's own processor failed"),
    140: Fault(Remedy.FENCE, "memory has an error that cannot be corrected, found without a context"),
    143: Fault(Remedy.FENCE, "the GPU could not be initialised"),
}
LOST = 79
"""What a GPU that NVML no longer finds counts as."""


def fault_of(xid: int) -> Fault:
    """A number that is not in the table is written down: it may be about graphics, or newer than this program."""
    return XID_POLICY.get(xid, Fault(Remedy.WARN, "not known to this program"))
