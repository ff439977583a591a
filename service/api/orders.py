"""What one session tells the worker, in order, and what it tells the next one when a worker was lost.

It knows commands and the worker client; nothing of listeners or the store. Invariants: commands reach a worker in the
order in which they were given; none reaches it twice; credits are those that are free when they are sent.
"""

import asyncio
from collections.abc import Callable

from service import ipc
from service.api.credits import Credits
from service.api.unanswered import Answerable, Unanswered
from service.api.worker_client import WorkerClient
from service.api.worker_link import Listener


class Orders:
    def __init__(
        self, session: str, worker: WorkerClient, *, credits: Credits, restored: tuple[ipc.Interact, ...] = ()
    ) -> None:
        """`restored`: prompts that the session's start tells of."""
        self._session = session
        self._worker = worker
        self._credits = credits
        self._unanswered = Unanswered()
        for command in restored:
            self._unanswered.restore(command)
        self._turn = asyncio.Lock()
        self._reachable = True
        self.losses = 0
        """Workers that were lost."""
        self._paused = False
        self._playback: ipc.Playback | None = None

    async def begin(self, start: ipc.Start, listener: Listener) -> None:
        """Asks for a place. Raises SessionError."""
        await self._worker.open(start, listener)

    async def give(self, command: Answerable) -> None:
        """A command that will be answered, by this worker or the next."""
        self._unanswered.hold(command)
        async with self._turn:
            await self._tell()

    async def _tell(self) -> None:
        """Everything that the worker has not been told, in order."""
        while self._reachable and (command := self._unanswered.to_send()) is not None:
            await self._worker.send(command)

    async def play(self, playback: ipc.Playback) -> None:
        """Where the viewer is; only the newest counts."""
        self._playback = playback
        async with self._turn:
            if self._reachable:
                await self._worker.send(playback)

    async def stop(self) -> None:
        async with self._turn:
            await self._worker.send(ipc.Stop(session=self._session))

    async def credit(self, sequence: int) -> None:
        """Chunks up to this one are taken."""
        async with self._turn:
            credits = self._credits.taken(sequence)
            if credits and self._reachable:
                await self._worker.send(ipc.Credit(session=self._session, chunks=credits))

    def answered(self, event: ipc.SessionEvent) -> Answerable | None:
        """The command that this event answers."""
        command = self._unanswered.answer(event)
        if isinstance(command, ipc.Control) and command.action != "quality":
            self._paused = command.action == "pause"
        return command

    def first_queued(self, event: ipc.Queued) -> bool:
        return self._unanswered.first_queued(event)

    def lost(self) -> None:
        """The worker is gone: what is given now waits for the next one."""
        self._reachable = False
        self.losses += 1
        self._unanswered.lost()

    async def again(self, start: Callable[[int], ipc.Start], *, next_sequence: int, losses: int) -> None:
        """Tells another worker everything: where the session is, and what has no answer.

        Args:
            losses: how many were lost when this one came; if another was since, it is that one's successor's turn.
        """
        async with self._turn:
            if losses != self.losses:
                return
            self._reachable = True
            command = start(self._credits.free(next_sequence))
            waiting = self._unanswered.first_interactions()
            await self._worker.restart(ipc.changed(command, interactions=waiting))
            if self._reachable and self._paused:
                await self._worker.send(ipc.Control(session=self._session, action="pause"))
            if self._reachable and self._playback is not None:
                await self._worker.send(self._playback)
            await self._tell()
