"""The chunks between the reader and the program that takes them: a bounded queue from which chunks can be taken back.

Knows chunks by their sequence numbers only; nothing of sockets or sessions. Invariants: chunks come out in the order
in which they went in, each at most once; there are at most `room` of them, but for those that come while somebody
waits for an answer that is behind them.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from client.chunk import Chunk


class ChunkBuffer:
    """One task puts chunks in, one takes them out."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._chunks: deque[Chunk] = deque()
        self._closed = False
        self._awaited = 0
        self._has_room = asyncio.Event()
        self._has_news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._chunks)

    async def put(self, chunk: Chunk) -> None:
        """Add a chunk, when there is room for it."""
        while len(self._chunks) >= self._room and not self._awaited and not self._closed:
            self._has_room.clear()
            await self._has_room.wait()
        self._chunks.append(chunk)
        self._has_news.set()

    async def get(self) -> Chunk | None:
        """The next chunk, when there is one; None when there is none and will be none."""
        while not self._chunks:
            if self._closed:
                return None
            self._has_news.clear()
            await self._has_news.wait()
        self._has_room.set()
        return self._chunks.popleft()

    def take_back(self, from_sequence: int) -> tuple[Chunk, ...]:
        """Remove the chunks with this number and later ones, and return them."""
        removed = tuple(chunk for chunk in self._chunks if chunk.sequence >= from_sequence)
        self._chunks = deque(chunk for chunk in self._chunks if chunk.sequence < from_sequence)
        self._has_room.set()
        return removed

    @contextmanager
    def without_bound(self) -> Iterator[None]:
        """Let everything in meanwhile: a program that waits for an answer takes no chunks that come before it."""
        self._awaited += 1
        self._has_room.set()
        try:
            yield
        finally:
            self._awaited -= 1

    def close(self) -> None:
        """Nothing more will be put in; what is in it can still be taken."""
        self._closed = True
        self._has_room.set()
        self._has_news.set()

    def clear(self) -> None:
        self._chunks.clear()
