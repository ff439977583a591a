"""A fake worker at the other end of a channel that is in memory: both in one event loop.

It knows nothing of processes or sockets. Invariant: every message is encoded and decoded as on the real channel.
"""

import asyncio

from service import ipc
from tests.service.fakes import FACTS, FakeWorker


class MemoryLink:
    """Both ends of a channel in one event loop; every message is encoded and decoded as on the real one."""

    def __init__(self) -> None:
        self.to_worker: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self.to_api: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self.full = False

    async def send(self, command: ipc.Command) -> None:
        if self.full:
            raise ipc.IpcError("the worker did not read")
        self.to_worker.put_nowait(ipc.encode(command))

    async def receive(self, timeout: float) -> ipc.Event | None:
        try:
            async with asyncio.timeout(timeout):  # not wait_for, which can lose a cancellation
                return ipc.decode_event(await self.to_api.get())
        except TimeoutError:
            return None

    def emit(self, event: ipc.Event) -> None:
        self.to_api.put_nowait(ipc.encode(event))


class MemoryWorker:
    """A FakeWorker at the end of a MemoryLink. `frozen` stops all it does, heartbeats included."""

    def __init__(
        self, *, frame_bytes: int = 100, heartbeat_interval: float = 0.05, chunk_interval: float = 0.001
    ) -> None:
        self.facts = FACTS
        self.link = MemoryLink()
        self.worker = FakeWorker(self.link.emit, frame_bytes)
        self.frozen = False
        self.streaming = True
        self._heartbeat_interval = heartbeat_interval
        self._chunk_interval = chunk_interval

    def successor(self) -> "MemoryWorker":
        """Another like it, that knows nothing of its sessions."""
        made = MemoryWorker(
            frame_bytes=self.worker.frame_bytes,
            heartbeat_interval=self._heartbeat_interval,
            chunk_interval=self._chunk_interval,
        )
        made.worker.head = self.worker.head
        return made

    async def run(self) -> None:
        self.worker.emit(ipc.Ready(facts=self.facts))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._work())

    async def _beat(self) -> None:
        while not self.worker.stopped:
            await asyncio.sleep(self._heartbeat_interval)
            if not self.frozen:
                self.worker.heartbeat()

    async def _work(self) -> None:
        while not self.worker.stopped:
            await asyncio.sleep(self._chunk_interval)
            if self.frozen:
                continue
            while not self.link.to_worker.empty():
                self.worker.handle(ipc.decode_command(self.link.to_worker.get_nowait()))
            if self.streaming:
                self.worker.make_chunks()
