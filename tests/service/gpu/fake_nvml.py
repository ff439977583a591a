"""What stands for the module pynvml in tests: the calls that the product makes, over events that were recorded.

Knows what service/gpu/nvml.py uses and no more. Invariant: an event that is due comes at once, and then none.
"""

from collections import deque
from dataclasses import dataclass, field


class NVMLError(Exception):
    pass


class NVMLError_Timeout(NVMLError):
    pass


class NVMLError_GpuIsLost(NVMLError):
    pass


class NVMLError_Unknown(NVMLError):
    pass


@dataclass(frozen=True)
class EventData:
    device: int
    eventData: int


@dataclass
class FakeNvml:
    """`recorded`: events as (GPU index, Xid), or an error that waiting raises."""

    gpus: int = 2
    recorded: deque[tuple[int, int] | NVMLError] = field(default_factory=deque)
    lost: set[int] = field(default_factory=set)
    registered: list[tuple[int, int]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    NVMLError = NVMLError
    NVMLError_Timeout = NVMLError_Timeout
    NVMLError_GpuIsLost = NVMLError_GpuIsLost
    nvmlEventTypeXidCriticalError = 8

    def nvmlEventSetCreate(self) -> str:
        return "set"

    def nvmlDeviceGetCount(self) -> int:
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        if handle in self.lost:
            raise NVMLError_GpuIsLost
        return f"GPU-{handle}"

    def nvmlDeviceRegisterEvents(self, handle: int, kinds: int, events: str) -> None:
        assert events == "set"
        self.registered.append((handle, kinds))

    def nvmlEventSetWait_v2(self, events: str, milliseconds: int) -> EventData:
        if not self.recorded:
            raise NVMLError_Timeout
        found = self.recorded.popleft()
        if isinstance(found, NVMLError):
            raise found
        return EventData(*found)

    def nvmlEventSetFree(self, events: str) -> None:
        self.closed.append(events)

    def nvmlShutdown(self) -> None:
        self.closed.append("library")
