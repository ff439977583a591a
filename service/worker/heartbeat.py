"""The worker's sign of life, from a thread of its own, and the watch for the parent's death.

Knows the loop's progress as plain values. Invariant: the beat says how long ago the loop last moved, so a process
that lives but makes nothing looks different from one that works.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from service.ipc import Event, Heartbeat, IpcError
from service.worker.loop import Progress

logger = logging.getLogger(__name__)


class HeartbeatThread:
    """`device_memory`: bytes that are held on the device; None where that is the host."""

    def __init__(
        self,
        progress: Progress,
        *,
        send: Callable[[Event], None],
        interval: float,
        device_memory: Callable[[], int | None],
    ) -> None:
        self._progress = progress
        self._send = send
        self._device_memory = device_memory
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            progress = self._progress
            try:
                self._send(
                    Heartbeat(
                        sessions=progress.sessions,
                        idle_seconds=max(0.0, time.monotonic() - progress.moved_at),
                        busy=progress.busy,
                        blocks=progress.blocks,
                        memory_bytes=resident_bytes(),
                        device_memory_bytes=self._device_memory(),
                    )
                )
            except IpcError as error:
                logger.error("no heartbeat: %s", error)  # the loop meets the same channel and decides


def resident_bytes() -> int:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def device_bytes(device: str) -> int | None:
    """What this process's tensors hold on a CUDA device, without waiting for it; None for any other."""
    return torch.cuda.memory_allocated(device) if device.partition(":")[0] == "cuda" else None


def device_uuid(device: str) -> str | None:
    """The name of a CUDA device by which its faults are reported; None for any other."""
    if device.partition(":")[0] != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def watch_parent(pipe: int, *, on_death: Callable[[], None]) -> threading.Thread:
    """Call `on_death` when the other end of `pipe` (a file descriptor), which the parent holds open, is closed."""

    def watch() -> None:
        # Not through a file object: a daemon thread inside one aborts the interpreter when it exits.
        while os.read(pipe, 1024):
            pass
        on_death()

    thread = threading.Thread(target=watch, name="parent-watch", daemon=True)
    thread.start()
    return thread
