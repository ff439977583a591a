"""What waits for one client's socket besides what its session says to all: answers, in order, with a bound.

It knows nothing of sockets or of what messages mean. Invariants: it never holds more than `limit` messages besides the
last word, after which nothing is taken in.
"""

import asyncio
from collections import deque

from service.api.reply import Reply


class OutboxFull(Exception):
    """The client has not taken its messages for so long that the bound is reached."""


class Outbox:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Reply] = deque()
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, *replies: Reply) -> None:
        """Appends replies. One with a close code is the last; what comes after it is dropped.

        Raises:
            OutboxFull: the bound is reached.
        """
        for reply in replies:
            if self._closed:
                return
            if reply.close is None and len(self._waiting) >= self._limit:
                raise OutboxFull(f"expected at most {self._limit} messages to wait")
            self._closed = reply.close is not None
            self._waiting.append(reply)
        self._notify()

    def replace(self, reply: Reply) -> None:
        """Drops what waits and leaves one last word."""
        self._waiting.clear()
        self._closed = False
        self.put(reply)

    def take(self) -> Reply | None:
        """The next reply; None where nothing waits."""
        if not self._waiting:
            return None
        reply = self._waiting.popleft()
        self._notify()
        return reply

    async def wait_for_room(self) -> None:
        """Waits until half of the room is free, so that what is read now can be answered."""
        while len(self._waiting) > self._limit // 2 and not self._closed:
            await self._changed.wait()

    @property
    def empty(self) -> bool:
        return not self._waiting

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
