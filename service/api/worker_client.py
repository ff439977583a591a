"""The API's side of the engine worker: sends commands, routes events to sessions, knows whether it lives.

It knows nothing of the wire, of sockets or of what events mean. Invariants: routing never waits for a
session; every session that was opened hears its last event from the worker or, within the heartbeat's
timeout of its silence, that the worker is lost; a place is free again once the worker says so or is lost.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from service import ipc
from service.config import ServiceConfig
from service.errors import CapacityError, ErrorCode, SessionError

logger = logging.getLogger(__name__)


class WorkerState(Enum):
    ABSENT = auto()
    LOADING = auto()
    READY = auto()
    DRAINING = auto()
    LOST = auto()


class WorkerLink(Protocol):
    """The way to one start of one worker; `service.channel.ApiChannel` is one."""

    async def send(self, command: ipc.Command) -> None: ...

    async def receive(self, timeout: float) -> ipc.Event | None: ...


class Listener(Protocol):
    """What a session's events are given to. Neither call may wait or raise."""

    def deliver(self, event: ipc.SessionEvent) -> None: ...

    def worker_lost(self, code: ErrorCode, message: str) -> None: ...


@dataclass(slots=True)
class _Place:
    """A session the worker holds. Without a listener its client is gone and its end is waited for."""

    listener: Listener | None


class WorkerClient:
    """One worker as the API sees it, over all its restarts: each start is one `serve`."""

    def __init__(self, config: ServiceConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._link: WorkerLink | None = None
        self._places: dict[str, _Place] = {}
        self._heard_at = clock()
        self._changed = asyncio.Event()
        self.loss = ""
        self.state = WorkerState.ABSENT
        self.facts: ipc.Facts | None = None
        self.heartbeat: ipc.Heartbeat | None = None

    # What the rest of the API asks

    @property
    def ready(self) -> bool:
        return self.state is WorkerState.READY and self.heartbeat_age() <= self._config.heartbeat_timeout

    @property
    def sessions(self) -> int:
        """Places taken, those included whose client is gone and whose end the worker has not yet reported."""
        return len(self._places)

    def heartbeat_age(self) -> float:
        """Seconds since the worker last said anything."""
        return self._clock() - self._heard_at

    async def wait_for(self, *states: WorkerState) -> WorkerState:
        """Waits, without limit, until the state is one of these."""
        while self.state not in states:
            await self._changed.wait()
        return self.state

    # What sessions do

    async def open(self, start: ipc.Start, listener: Listener) -> None:
        """Asks the worker for a session; its events, up to Ended or Failed, go to `listener`.

        Raises:
            SessionError: the worker is not ready or the server is draining.
            CapacityError: every place is taken.
        """
        if self.state is WorkerState.DRAINING:
            raise SessionError(ErrorCode.SERVER_DRAINING, "The server is shutting down.")
        if self.state is not WorkerState.READY:
            raise SessionError(ErrorCode.WORKER_UNAVAILABLE, f"The engine is {self.state.name.lower()}.")
        if len(self._places) >= self._config.max_sessions:
            raise CapacityError(f"All {self._config.max_sessions} places are taken.")
        self._places[start.session] = _Place(listener)
        await self._send(start)

    async def send(self, command: ipc.Interact | ipc.Credit | ipc.Stop) -> None:
        """Passes a command on. To a session that has ended, or a worker that is lost, it goes nowhere."""
        if command.session in self._places:
            await self._send(command)

    async def release(self, session: str) -> None:
        """The client is gone: nobody listens any more, and the worker is told to stop."""
        place = self._places.get(session)
        if place is not None:
            place.listener = None
            await self._send(ipc.Stop(session=session))

    # What the process around it does

    async def serve(self, link: WorkerLink) -> None:
        """Runs one start of the worker until it is lost or has ended after `drain`; never raises for its faults."""
        assert self._link is None, "expected one link at a time"
        if self.state is WorkerState.DRAINING:
            return
        self._link = link
        self._heard_at = self._clock()
        self.loss = ""
        self._enter(WorkerState.LOADING)
        try:
            while self._link is not None:
                await self._receive_one(link)
        finally:
            self.lose("the link to the engine was closed")

    async def drain(self) -> None:
        """Takes no new session and waits until the others have ended, `drain_timeout` at most; then ends them.

        This is for good: the state stays DRAINING, and no other worker is served.
        """
        self._enter(WorkerState.DRAINING)
        await self._send(ipc.Shutdown())
        try:
            async with asyncio.timeout(self._config.drain_timeout):
                while self._places:
                    await self._changed.wait()
        except TimeoutError:
            logger.warning("%d sessions did not end within the drain timeout", len(self._places))
        self._end_all(ErrorCode.SERVER_DRAINING, "The server is shutting down.")

    def lose(self, reason: str) -> None:
        """The worker is gone (also for the one who watches its process to call): every session is told."""
        if self._link is None:
            return
        self._link = None
        self.facts = None
        self.heartbeat = None
        self.loss = reason
        if self.state is WorkerState.DRAINING:
            self._end_all(ErrorCode.SERVER_DRAINING, "The server is shutting down.")
            return
        self._enter(WorkerState.LOST)
        logger.error("the worker is lost: %s", reason)
        self._end_all(ErrorCode.WORKER_DIED, f"The engine stopped: {reason}.")

    # Events

    async def _receive_one(self, link: WorkerLink) -> None:
        try:
            event = await link.receive(self._config.heartbeat_interval)
        except ipc.IpcError as error:
            self.lose(f"it could not be understood ({error})")
            return
        if event is None:
            self._check_silence()
            return
        self._heard_at = self._clock()
        match event:
            case ipc.Ready():
                self.facts = event.facts
                if self.state is WorkerState.LOADING:
                    self._enter(WorkerState.READY)
            case ipc.Heartbeat():
                self._on_heartbeat(event)
            case ipc.Dead():
                self.lose(event.message)
            case _:
                self._route(event)

    def _check_silence(self) -> None:
        limit = self._config.heartbeat_timeout
        if self.state is WorkerState.LOADING:
            limit = max(limit, self._config.worker_start_timeout)
        if self.heartbeat_age() > limit:
            self.lose(f"nothing was heard of it for {limit:g} s")

    def _on_heartbeat(self, event: ipc.Heartbeat) -> None:
        self.heartbeat = event
        if event.busy and event.idle_seconds > self._config.block_deadline:
            self.lose(f"one block took longer than {self._config.block_deadline:g} s")

    def _route(self, event: ipc.SessionEvent) -> None:
        place = self._places.get(event.session)
        if place is None:
            return
        if isinstance(event, ipc.Ended | ipc.Failed):
            del self._places[event.session]
            self._notify()
        if place.listener is not None:
            place.listener.deliver(event)

    async def _send(self, command: ipc.Command) -> None:
        link = self._link
        if link is None:
            return
        try:
            await link.send(command)
        except ipc.IpcError as error:
            if self._link is link:
                self.lose(f"it does not take commands ({error})")

    def _end_all(self, code: ErrorCode, message: str) -> None:
        places = list(self._places.values())
        self._places.clear()
        self._notify()
        for place in places:
            if place.listener is not None:
                place.listener.worker_lost(code, message)

    def _enter(self, state: WorkerState) -> None:
        self.state = state
        self._notify()

    def _notify(self) -> None:
        """Wakes whoever waits for a change; each looks for itself whether it is the one it waits for."""
        self._changed.set()
        self._changed = asyncio.Event()
