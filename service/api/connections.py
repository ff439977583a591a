"""The open WebSocket connections: how many there may be, and their end when the server shuts down.

It knows nothing of sessions or of the worker. Invariant: a connection is counted from the moment it is
accepted until its `run` has returned, whatever happened in it.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.api.realtime import Connection
from service.errors import ErrorCode

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    frames: int
    bytes: int


class Connections:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._open)

    def waiting(self) -> "Waiting":
        """Media that waits for clients, of all connections together; what waits for two counts twice."""
        chunks = [entry for connection in self._open for entry in connection.waiting_chunks]
        return Waiting(
            frames=sum(entry.chunk.num_frames for entry in chunks if entry.chunk),
            bytes=sum(len(entry.reply.payload or b"") for entry in chunks),
        )

    @property
    def full(self) -> bool:
        return len(self._open) >= self._limit

    @contextmanager
    def holding(self, connection: Connection) -> Iterator[None]:
        self._open.add(connection)
        self._empty.clear()
        try:
            yield
        finally:
            self._open.discard(connection)
            if not self._open:
                self._empty.set()

    @property
    def keys(self) -> frozenset[str]:
        """The keys that somebody is connected with."""
        found = (connection.principal.key_id for connection in self._open)
        return frozenset(key for key in found if key is not None)

    def end_key(self, key: str, *, code: ErrorCode, message: str) -> None:
        """Says a last word to all that are connected with a key."""
        for connection in self._open:
            if connection.principal.key_id == key:
                connection.end(code, message)

    async def end_all(self, timeout: float) -> None:
        """Tells those that are still open that the server goes away, and waits for them `timeout` seconds."""
        for connection in self._open:
            connection.end(ErrorCode.SERVER_DRAINING, "The server is shutting down.")
        try:
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("%d connections did not close in time", len(self._open))
