"""What a session's hub hears of, in the order in which it happened, and where a session stands.

It knows nothing of what follows from any of it. Invariant: each is a value; what comes first is heeded first.
"""

from dataclasses import dataclass
from enum import Enum, auto

from service import ipc
from service.errors import ErrorCode


class Phase(Enum):
    """Where a session stands. In LOST it waits for another worker."""

    OPENING = auto()
    RUNNING = auto()
    LOST = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class WorkerLost:
    message: str


@dataclass(frozen=True, slots=True)
class WorkerReady:
    losses: int
    """Workers that were lost before it."""


@dataclass(frozen=True, slots=True)
class End:
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Look:
    """Something changed that time or credits depend on."""

    stop: bool = False


@dataclass(frozen=True, slots=True)
class LetGo:
    """Another process is to go on with it."""


News = ipc.SessionEvent | WorkerLost | WorkerReady | End | Look | LetGo
