"""What a live session has to write, in order; where the store takes nothing now, it waits here and the session goes on.

It knows the store's faults and which latents are on the disk; nothing of sessions, messages or SQL. Invariants: what is
written is written in the order in which it was given, each once; a chunk is written only when its latents are in their
file; that something waits is said once, and once that nothing does any more.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.errors import ErrorCode, SessionError
from service.store.failures import ChunkOutOfTurn, StoreClosed, StoreFailed

Write = Callable[[], Awaitable[object]]
logger = logging.getLogger(__name__)
RETRY_SECONDS = 1.0
_LONGEST_RETRY = 30.0


@dataclass(slots=True)
class _Entry:
    write: Write
    sequence: int | None
    """Of a chunk."""
    tried: bool = False


class Ledger:
    """`says` hears of each change: True, something waits; False, nothing does any more.

    `fails` hears of what ends the session although nobody waits for the write.
    """

    def __init__(
        self,
        *,
        says: Callable[[bool], None],
        fails: Callable[[ErrorCode, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._says = says
        self._fails = fails
        self._clock = clock
        self._entries: deque[_Entry] = deque()
        self._without_latents: set[int] = set()
        self._said = False
        self._turn = asyncio.Lock()
        self._trying: asyncio.Task[None] | None = None
        self._next_try = 0.0

    @property
    def behind(self) -> bool:
        """Something waits for the store."""
        return bool(self._entries)

    @property
    def next_try(self) -> float | None:
        """When it is time for `look`; None where nothing waits."""
        return self._next_try if self._said else None

    @property
    def first_unwritten(self) -> int | None:
        """The first chunk that the store does not have yet."""
        return next((entry.sequence for entry in self._entries if entry.sequence is not None), None)

    @property
    def waits_for_latents(self) -> bool:
        """Some are in the memory of the worker only."""
        return bool(self._without_latents)

    async def write(self, write: Write, *, sequence: int | None = None, latents: bool = True) -> None:
        """Returns when it is written, or waits with all that was given before. Raises SessionError, but StoreFailed.

        Args:
            sequence: of the chunk that is written.
            latents: whether its latents are in their file; if not, it waits for `stored`.
        """
        if sequence is not None and not latents:
            self._without_latents.add(sequence)
        self._entries.append(_Entry(write, sequence))
        if not self._said:
            await self._flush()

    async def stored(self, sequence: int) -> None:
        """The latents of a chunk that waited are in their file."""
        self._without_latents.discard(sequence)
        first = self._entries[0].sequence if self._entries else None
        if first == sequence:
            self._next_try = self._clock()
            self.look()

    def look(self) -> None:
        """Tries again what waits, if it is time, without waiting for it."""
        if self._said and self._clock() >= self._next_try and (self._trying is None or self._trying.done()):
            self._trying = asyncio.create_task(self._try())

    async def settle(self) -> bool:
        """Tries once more; whether nothing waits any more. Raises SessionError, but StoreFailed."""
        if self._trying is not None:
            await asyncio.wait({self._trying})
        await self._flush()
        return not self.behind

    async def _try(self) -> None:
        try:
            await self._flush()
        except SessionError as error:
            self._fails(error.code, error.message)

    async def _flush(self) -> None:
        async with self._turn:
            began = self._clock()
            try:
                await self._write_all()
            except StoreClosed:
                raise
            except StoreFailed as error:
                logger.log(logging.DEBUG if self._said else logging.WARNING, "what is to be stored waits: %s", error)
            took = self._clock() - began
            self._next_try = self._clock() + min(max(RETRY_SECONDS, 4 * took), _LONGEST_RETRY)
            if self.behind is not self._said:
                self._said = self.behind
                self._says(self._said)

    async def _write_all(self) -> None:
        """Raises StoreFailed where the store takes nothing now; what raises anything else is out of the way."""
        while self._entries and self._entries[0].sequence not in self._without_latents:
            entry = self._entries[0]
            try:
                await entry.write()
            except ChunkOutOfTurn as error:
                self._entries.popleft()
                if not (entry.tried and error.expected == error.given + 1):  # a failure was told of what was written
                    raise
            except StoreClosed:
                self._entries.popleft()
                raise
            except StoreFailed:
                entry.tried = True
                raise
            except SessionError:
                self._entries.popleft()
                raise
            else:
                self._entries.popleft()
