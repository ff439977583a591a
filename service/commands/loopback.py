"""Both ends of the channel between worker and API in one process, to measure what sending a chunk costs.

Knows the channel and its messages; nothing of sessions or engines. Invariant: `send` returns when the other end holds
the decoded chunk, so the time it takes is that of the whole way.
"""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from service.channel import ApiChannel, ChannelLimits, Endpoints, WorkerChannel
from service.ipc import Chunk, Event

LIMITS = ChannelLimits(messages=16, message_bytes=64 * 2**20, send_timeout=5.0, linger=0.0)


class Loopback:
    """A context manager; use it in one thread."""

    def __enter__(self) -> Self:
        self._endpoints = Endpoints.create()
        self._runner = asyncio.Runner()
        self._api = self._runner.run(self._open())
        self._worker = WorkerChannel(self._endpoints, LIMITS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close()
        self._runner.run(self._close())
        self._runner.close()
        self._endpoints.remove()

    @property
    def folder(self) -> Path:
        """Where its sockets lie while it is open."""
        return self._endpoints.folder

    def send(self, chunk: Chunk) -> Event:
        """From one end to the other; what came out there."""
        self._worker.send(chunk)
        event = self._runner.run(self._api.receive(LIMITS.send_timeout))
        assert event is not None, f"a chunk of {len(chunk.payload)} bytes did not arrive"
        return event

    async def _open(self) -> ApiChannel:
        return ApiChannel(self._endpoints, LIMITS)

    async def _close(self) -> None:
        self._api.close()
