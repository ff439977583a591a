"""What waits for one client's socket: control messages and chunks, in order, each kind with a bound.

It knows nothing of sockets or of what messages mean. Invariants: it never holds more than `control` messages
and `chunks` chunks besides the last word, after which nothing is taken in; where it thins, only the newest of
the chunks that wait has its bytes, as long as there is room for what stays of the others.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from service.api.reply import Reply


class OutboxFull(Exception):
    """The client has not taken its messages for so long that the bound is reached."""


@dataclass(slots=True)
class _Item:
    reply: Reply
    since: float


class Outbox:
    """Room for `control` messages and `chunks` chunks.

    `thin`, where it is set, makes the small reply that stays of a waiting chunk when a newer one comes.
    """

    def __init__(self, *, control: int, chunks: int) -> None:
        self._control_limit = control
        self._chunk_limit = chunks
        self.thin: Callable[[Reply], Reply] | None = None
        self._waiting: deque[_Item] = deque()
        self._sending: _Item | None = None
        self._chunks = 0
        self._thinned = 0
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, reply: Reply, now: float = 0.0) -> int:
        """Appends a reply. One with a close code is the last; what comes after it is dropped.

        Returns:
            How many credits can be given back now, because this chunk and those it thinned need none when sent.

        Raises:
            OutboxFull: the bound of its kind is reached.
        """
        if self._closed:
            return 0
        is_chunk = reply.payload is not None
        credits = 0
        if is_chunk and self.thin is not None and self._thinned + self._chunks <= self._control_limit:
            credits = self._thin_waiting(self.thin) + 1
            reply = reply.without_credit()
        if is_chunk and self._chunks >= self._chunk_limit:
            raise OutboxFull(f"expected at most {self._chunk_limit} chunks to wait")
        if not is_chunk and reply.close is None and self._control >= self._control_limit:
            raise OutboxFull(f"expected at most {self._control_limit} messages to wait")
        self._chunks += is_chunk
        self._closed = reply.close is not None
        self._waiting.append(_Item(reply, now))
        self._notify()
        return credits

    def replace(self, reply: Reply, now: float = 0.0) -> None:
        """Drops what waits and leaves one last word."""
        self._waiting.clear()
        self._chunks = self._thinned = 0
        self._closed = False
        self.put(reply, now)

    async def get(self) -> Reply:
        """Waits for the next reply and takes it out; it counts as being sent until the next `get` or `sent`."""
        while not self._waiting:
            await self._changed.wait()
        self._sending = item = self._waiting.popleft()
        if item.reply.thinned:
            self._thinned -= 1
        elif item.reply.payload is not None:
            self._chunks -= 1
        self._notify()
        return item.reply

    def sent(self) -> None:
        """What `get` gave is sent."""
        self._sending = None

    async def wait_for_room(self) -> None:
        """Waits until half of the control messages' room is free, so that answers and events both fit."""
        while self._control > self._control_limit // 2 and not self._closed:
            await self._changed.wait()

    @property
    def empty(self) -> bool:
        """Nothing waits; one reply may be under way."""
        return not self._waiting

    @property
    def payload_bytes(self) -> int:
        """Bytes of media that are held, the chunk that is being sent included."""
        items = [*self._waiting, self._sending] if self._sending else list(self._waiting)
        return sum(len(item.reply.payload or b"") for item in items)

    def oldest_chunk(self) -> float | None:
        """Since when the oldest chunk waits, the one that is being sent included."""
        items = [self._sending, *self._waiting] if self._sending else list(self._waiting)
        return next((item.since for item in items if item.reply.payload is not None), None)

    @property
    def _control(self) -> int:
        return len(self._waiting) - self._chunks - self._thinned

    def _thin_waiting(self, thin: Callable[[Reply], Reply]) -> int:
        """The chunks that wait with their bytes lose them. Returns how many credits they had still to give back."""
        credits = 0
        for item in self._waiting:
            if item.reply.payload is not None and not item.reply.thinned:
                credits += item.reply.credit
                item.reply = thin(item.reply)
                self._chunks -= 1
                self._thinned += 1
        return credits

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
