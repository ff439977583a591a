"""Watches for faults of GPUs and sees that the right worker is replaced, or its GPU is used no more.

Knows events and the policy; nothing of NVML, processes or sessions. Invariants: waiting never holds the event loop up;
what follows from one fault (a context cleaned up, a process that dies) does not replace the worker again; a GPU that is
fenced stays so.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from service.gpu.events import GpuEvent, GpuEvents
from service.gpu.policy import Remedy, fault_of

logger = logging.getLogger(__name__)


class Workers(Protocol):
    """Whoever runs a worker on each GPU. `gpu` is a UUID as NVML says it."""

    def replace(self, gpu: str, reason: str) -> None: ...

    def fence(self, gpu: str, reason: str) -> None: ...


class GpuWatch:
    def __init__(
        self,
        events: GpuEvents,
        workers: Workers,
        *,
        interval: float,
        settle: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Times in seconds. `settle`: faults that a replaced worker would be blamed for count for nothing so long."""
        self._events = events
        self._workers = workers
        self._interval = interval
        self._settle = settle
        self._clock = clock
        self._replaced: dict[str, float] = {}
        self._fenced: set[str] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="longtake-gpu-watch")
        try:
            while True:
                event = await loop.run_in_executor(thread, self._events.wait, self._interval)
                if event is not None:
                    self.on_event(event)
        finally:
            thread.submit(self._events.close)
            thread.shutdown()

    def on_event(self, event: GpuEvent) -> None:
        fault = fault_of(event.xid)
        reason = f"GPU {event.gpu} reported Xid {event.xid}: {fault.meaning}"
        logger.warning("%s (%s)", reason, fault.remedy)
        if event.gpu in self._fenced:
            return
        if fault.remedy is Remedy.FENCE:
            self._fenced.add(event.gpu)
            self._workers.fence(event.gpu, reason)
        elif fault.remedy is Remedy.RESTART and not self._is_settling(event.gpu):
            self._replaced[event.gpu] = self._clock()
            self._workers.replace(event.gpu, reason)

    def _is_settling(self, gpu: str) -> bool:
        replaced = self._replaced.get(gpu)
        return replaced is not None and self._clock() - replaced < self._settle
