"""The workers of an API process as one: whether they are ready, what they have loaded, which were lost.

It knows seats and time; nothing of sessions, commands or listeners. Invariant: READY means that one worker at least has
loaded its model; DRAINING is for good.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto

from service import ipc
from service.api.seats import Seats
from service.api.worker_link import LossKind
from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError


class WorkerState(Enum):
    ABSENT = auto()
    LOADING = auto()
    READY = auto()
    DRAINING = auto()
    LOST = auto()


class Fleet:
    loss: str
    """Of the last worker that was lost, while no other was started since."""

    def __init__(self, config: ServiceConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._seats = Seats()
        self._heard_at = clock()
        self._draining = False
        self._changed = asyncio.Event()
        self.losses: Counter[LossKind] = Counter()
        self.loss = ""
        self.fenced_gpus = 0
        """GPUs that are used no more, for a fault that a restart does not mend."""

    @property
    def state(self) -> WorkerState:
        """Of the workers together: READY while one is."""
        if self._draining:
            return WorkerState.DRAINING
        if self._seats.ready:
            return WorkerState.READY
        if len(self._seats):
            return WorkerState.LOADING
        return WorkerState.LOST if self.loss else WorkerState.ABSENT

    @property
    def stopping(self) -> bool:
        return self._draining

    @property
    def ready(self) -> bool:
        return self.state is WorkerState.READY and self.heartbeat_age() <= self._config.heartbeat_timeout

    def require_ready(self) -> None:
        """Raises SessionError: no session would be started."""
        if self.state is WorkerState.DRAINING:
            raise SessionError(ErrorCode.SERVER_DRAINING, "The server is shutting down.")
        if self.state is not WorkerState.READY:
            raise SessionError(ErrorCode.WORKER_UNAVAILABLE, f"The engine is {self.state.name.lower()}.")

    @property
    def seats(self) -> Seats:
        return self._seats

    @property
    def facts(self) -> ipc.Facts | None:
        """Of the model that the workers have loaded; None while none is ready."""
        return self._seats.facts

    def facts_of(self, session: str) -> ipc.Facts | None:
        """Of the worker that has the session."""
        seat = self._seats.of(session)
        return seat.facts if seat is not None else None

    @property
    def heartbeat(self) -> ipc.Heartbeat | None:
        """Of all workers together."""
        return self._seats.heartbeat

    def heartbeat_age(self) -> float:
        """Seconds since a worker last said anything."""
        return self._clock() - max((seat.heard_at for seat in self._seats), default=self._heard_at)

    async def wait_for(self, *states: WorkerState) -> WorkerState:
        """Waits, without limit, until the state is one of these."""
        while self.state not in states:
            await self._changed.wait()
        return self.state

    def _notify(self) -> None:
        """Wakes whoever waits for a change; each looks for itself whether it is the one it waits for."""
        self._changed.set()
        self._changed = asyncio.Event()
