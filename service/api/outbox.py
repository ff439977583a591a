"""What waits for one client's socket: control messages and chunks, in order, each kind with a bound.

It knows nothing of sockets or of what messages mean. Invariant: it never holds more than `control` messages
and `chunks` chunks besides the last word, after which nothing is taken in.
"""

import asyncio
from collections import deque

from service.api.machine import Reply


class OutboxFull(Exception):
    """The client has not taken its messages for so long that the bound is reached."""


class Outbox:
    def __init__(self, *, control: int, chunks: int) -> None:
        self._control_limit = control
        self._chunk_limit = chunks
        self._waiting: deque[Reply] = deque()
        self._chunks = 0
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, reply: Reply) -> None:
        """Appends a reply. One with a close code is the last; what comes after it is dropped.

        Raises:
            OutboxFull: the bound of its kind is reached.
        """
        if self._closed:
            return
        is_chunk = reply.payload is not None
        if is_chunk and self._chunks >= self._chunk_limit:
            raise OutboxFull(f"expected at most {self._chunk_limit} chunks to wait")
        if not is_chunk and reply.close is None and self._control >= self._control_limit:
            raise OutboxFull(f"expected at most {self._control_limit} messages to wait")
        self._chunks += is_chunk
        self._closed = reply.close is not None
        self._waiting.append(reply)
        self._notify()

    def replace(self, reply: Reply) -> None:
        """Drops what waits and leaves one last word."""
        self._waiting.clear()
        self._chunks = 0
        self._closed = False
        self.put(reply)

    async def get(self) -> Reply:
        """Waits for the next reply and takes it out."""
        while not self._waiting:
            await self._changed.wait()
        reply = self._waiting.popleft()
        self._chunks -= reply.payload is not None
        self._notify()
        return reply

    async def wait_for_room(self) -> None:
        """Waits until half of the control messages' room is free, so that answers and events both fit."""
        while self._control > self._control_limit // 2 and not self._closed:
            await self._changed.wait()

    @property
    def _control(self) -> int:
        return len(self._waiting) - self._chunks

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
