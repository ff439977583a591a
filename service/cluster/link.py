"""The way to a worker that is an actor: the second implementation of the worker transport.

It knows Ray's calls and errors, and the messages; nothing of sessions. Invariants: commands of one session arrive in
the order in which they were sent; an actor that is gone is told as the worker's last word, once.
"""

import asyncio
from collections import deque
from typing import Any

from service import ipc
from service.cluster.runtime import failures
from service.errors import ErrorCode

_SLACK = 10.0
"""What a call may take beyond the time for which it waits there."""


class RayLink:
    """One start of one worker, for one API process. `actor` is a WorkerActor's handle."""

    def __init__(self, actor: Any, peer: str, *, generation: int) -> None:
        self._actor = actor
        self._peer = peer
        self._generation = generation
        self._events: deque[ipc.Event] = deque()
        self._gone = False

    @classmethod
    async def join(cls, actor: Any, peer: str) -> "RayLink | None":
        """None while there is no worker there."""
        try:
            async with asyncio.timeout(_SLACK):
                generation = await actor.join.remote(peer)
        except failures():
            return None
        return cls(actor, peer, generation=generation) if generation else None

    async def send(self, command: ipc.Command) -> None:
        """Raises IpcError."""
        try:
            async with asyncio.timeout(_SLACK):
                await self._actor.tell.remote(self._peer, ipc.encode(command), generation=self._generation)
        except failures() as error:
            raise ipc.IpcError(f"its actor does not answer: {type(error).__name__}") from error

    async def receive(self, timeout: float) -> ipc.Event | None:
        """The next event, or None after `timeout` seconds without one. Raises IpcError where it cannot be read."""
        if not self._events and not self._gone:
            self._events.extend(await self._hear(timeout))
        return self._events.popleft() if self._events else None

    async def _hear(self, timeout: float) -> list[ipc.Event]:
        try:
            async with asyncio.timeout(timeout + _SLACK):
                heard = await self._actor.hear.remote(self._peer, generation=self._generation, timeout=timeout)
        except failures() as error:
            self._gone = True
            return [ipc.Dead(code=ErrorCode.WORKER_DIED, message=f"its actor is gone ({type(error).__name__})")]
        return [ipc.decode_event(parts) for parts in heard]
