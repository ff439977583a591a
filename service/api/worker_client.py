"""The API's side of the engine worker: sends commands, routes events to sessions, knows whether it lives.

It knows nothing of the wire, of sockets or of what events mean; who may have a place is `admission.py`'s to say.
Invariants: routing never waits for a session; every session that was opened hears its last event from the worker,
or why there will be none; a place is free again once the worker says so or is lost, or does not say so in time.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from service import ipc
from service.api.admission import Admission
from service.api.worker_link import Listener, LossKind, SessionCommand, WorkerLink
from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError

logger = logging.getLogger(__name__)


class WorkerState(Enum):
    ABSENT = auto()
    LOADING = auto()
    READY = auto()
    DRAINING = auto()
    LOST = auto()


@dataclass(slots=True)
class _Session:
    """A session that waits for a place or has one.

    Without a listener nobody wants it, and its end is waited for. With `start` it has had no place yet.
    """

    listener: Listener | None
    start: ipc.Start | None
    told: bool = False
    """The present worker has been told of it."""


class WorkerClient:
    """One worker as the API sees it, over all its restarts: each start is one `serve`."""

    def __init__(self, config: ServiceConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._link: WorkerLink | None = None
        self._sessions: dict[str, _Session] = {}
        self._admission = Admission(
            places=config.max_sessions,
            room=config.waiting_room,
            lease_seconds=config.lease_seconds,
            waiting_timeout=config.waiting_timeout,
        )
        self._looked_at = self._heard_at = clock()
        self.losses: Counter[LossKind] = Counter()
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
        return self._admission.active

    @property
    def places(self) -> int:
        """Sessions at once; where memory is for fewer, they take turns in the worker."""
        return self._admission.places

    @property
    def waiting(self) -> int:
        """Sessions that wait for a place."""
        return self._admission.waiting

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
        """Asks for a session; its events, up to Ended or Failed, go to `listener`.

        Where no place is free, the listener is told its position, and again whenever it changes.

        Raises:
            SessionError: the worker is not ready or the server is draining.
            CapacityError: there is no place, neither to run nor to wait.
        """
        if self.state is WorkerState.DRAINING:
            raise SessionError(ErrorCode.SERVER_DRAINING, "The server is shutting down.")
        if self.state is not WorkerState.READY:
            raise SessionError(ErrorCode.WORKER_UNAVAILABLE, f"The engine is {self.state.name.lower()}.")
        has_place = self._admission.ask(start.session, self._clock())
        self._sessions[start.session] = _Session(listener, start)
        if has_place:
            await self._begin(start.session)
        else:
            self._tell_positions()

    async def send(self, command: SessionCommand) -> None:
        """Passes a command on. To a session that has ended, or a worker that is lost, it goes nowhere."""
        if command.session not in self._sessions:
            return
        if isinstance(command, ipc.Stop):
            await self._stop(command.session)
        else:
            await self._send(command)

    async def restart(self, start: ipc.Start) -> None:
        """Tells another worker of a session that has its place already."""
        session = self._sessions.get(start.session)
        if session is not None and self._link is not None:
            session.told = True
            await self._send(start)

    def renew(self, session: str) -> None:
        """The session's connection shows life."""
        self._admission.renew(session, self._clock())

    async def release(self, session: str) -> None:
        """Nobody listens any more: the worker, if it has heard of the session, is told to stop it."""
        held = self._sessions.get(session)
        if held is None:
            return
        held.listener = None
        await self._stop(session)
        await self._fill_places()

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
        """Takes no new session, leaves the others `drain_grace` to end by themselves, and then ends them.

        This is for good: the state stays DRAINING, and no other worker is served.
        """
        self._enter(WorkerState.DRAINING)
        for name, session in list(self._sessions.items()):
            if session.listener is None:
                continue
            if session.start is None:
                session.listener.draining(self._config.drain_grace)
            else:
                session.listener.end(ErrorCode.SERVER_DRAINING, "The server is shutting down.")
                self._forget(name)
        await self._all_ended(within=self._config.drain_grace)
        await self._send(ipc.Shutdown())
        if not await self._all_ended(within=self._config.drain_timeout):
            logger.warning("%d sessions did not end within the drain timeout", len(self._sessions))
        self._end_all(ErrorCode.SERVER_DRAINING, "The server is shutting down.")

    async def _all_ended(self, *, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                while self._sessions:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def lose(self, reason: str, *, kind: LossKind = "ended") -> None:
        """The worker is gone (also for the one who watches its process to call). Sessions wait for another."""
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
        self.losses[kind] += 1
        logger.error("the worker is lost: %s", reason)
        for name, session in list(self._sessions.items()):
            session.told = False
            if session.start is not None:
                continue  # it waits for a place, of this worker or the next
            if session.listener is None:
                self._forget(name)
            else:
                session.listener.worker_lost(reason)

    def give_up(self) -> None:
        """There will be no other worker: every session is told."""
        self._end_all(ErrorCode.WORKER_DIED, f"The engine stopped: {self.loss}.")

    # Events

    async def _receive_one(self, link: WorkerLink) -> None:
        try:
            event = await link.receive(self._config.heartbeat_interval)
        except ipc.IpcError as error:
            self.lose(f"it could not be understood ({error})", kind="faulty")
            return
        await self._look_after_sessions()
        if event is None:
            self._check_silence()
            return
        self._heard_at = self._clock()
        match event:
            case ipc.Ready():
                self.facts = event.facts
                if self.state is WorkerState.LOADING:
                    self._enter(WorkerState.READY)
                    self._take_up_sessions()
                    await self._fill_places()
            case ipc.Heartbeat():
                self._on_heartbeat(event)
            case ipc.Dead():
                self.lose(event.message)
            case _:
                await self._route(event)

    def _take_up_sessions(self) -> None:
        """Sessions that a worker before this one had."""
        for session in self._sessions.values():
            if session.start is None and session.listener is not None:
                session.listener.worker_ready()

    def _check_silence(self) -> None:
        limit = self._config.heartbeat_timeout
        if self.state is WorkerState.LOADING:
            limit = max(limit, self._config.worker_start_timeout)
        if self.heartbeat_age() > limit:
            self.lose(f"nothing was heard of it for {limit:g} s", kind="silent")

    def _on_heartbeat(self, event: ipc.Heartbeat) -> None:
        self.heartbeat = event
        if event.busy and event.idle_seconds > self._config.block_deadline:
            self.lose(f"one block took longer than {self._config.block_deadline:g} s", kind="hung")

    async def _route(self, event: ipc.SessionEvent) -> None:
        session = self._sessions.get(event.session)
        if session is None:
            return
        over = isinstance(event, ipc.Ended | ipc.Failed)
        if over:
            self._forget(event.session)
        if session.listener is not None:
            session.listener.deliver(event)
        if over:
            await self._fill_places()

    # Places

    async def _begin(self, name: str) -> None:
        """Tells the worker of a session that has its place now."""
        session = self._sessions.get(name)
        if session is None or session.start is None:
            return
        start, session.start = session.start, None
        session.told = True
        if session.listener is not None:
            session.listener.admitted()
        await self._send(start)

    async def _stop(self, name: str) -> None:
        """Asks the worker to end a session; its place is free after `answer_timeout` even without an answer."""
        if not self._sessions[name].told:
            self._forget(name)
            return
        self._admission.end(name, self._clock(), within=self._config.answer_timeout)
        await self._send(ipc.Stop(session=name))

    async def _fill_places(self) -> None:
        admitted = self._admission.admit(self._clock()) if self.state is WorkerState.READY else ()
        self._tell_positions()
        for name in admitted:
            await self._begin(name)

    def _tell_positions(self) -> None:
        for moved in self._admission.moved():
            listener = self._sessions[moved.session].listener
            if listener is not None:
                listener.queued(moved.position, moved.waiting)

    async def _look_after_sessions(self) -> None:
        """Ends what has no time left; once in a heartbeat, so that it costs nothing per event."""
        now = self._clock()
        if now < self._looked_at + self._config.heartbeat_interval:
            return
        self._looked_at = now
        for name in self._admission.weary(now):
            message = f"No place became free within {self._config.waiting_timeout:g} s."
            self._end_one(name, ErrorCode.CAPACITY, message)
            self._forget(name)
        for name in self._admission.expired(now):
            if self._admission.is_ending(name):
                logger.warning("session %s: the worker did not say that it ended", name)
                self._end_one(name, ErrorCode.WORKER_STALLED, "The engine did not end the session in time.")
                self._forget(name)
            else:
                message = f"Your connection showed no life for {self._config.lease_seconds:g} s."
                self._end_one(name, ErrorCode.LEASE_EXPIRED, message)
                await self._stop(name)
        await self._fill_places()

    def _end_one(self, name: str, code: ErrorCode, message: str) -> None:
        session = self._sessions[name]
        if session.listener is not None:
            session.listener.end(code, message)
            session.listener = None

    def _forget(self, name: str) -> None:
        """The one way out: the session and its place, or its turn, are gone together."""
        del self._sessions[name]
        assert self._admission.leave(name), f"{name} had neither a place nor a turn"
        self._notify()

    async def _send(self, command: ipc.Command) -> None:
        link = self._link
        if link is None:
            return
        try:
            await link.send(command)
        except ipc.IpcError as error:
            if self._link is link:
                self.lose(f"it does not take commands ({error})", kind="deaf")

    def _end_all(self, code: ErrorCode, message: str) -> None:
        sessions = list(self._sessions.values())
        self._sessions.clear()
        self._admission.clear()
        self._notify()
        for session in sessions:
            if session.listener is not None:
                session.listener.end(code, message)

    def _enter(self, state: WorkerState) -> None:
        self.state = state
        self._notify()

    def _notify(self) -> None:
        """Wakes whoever waits for a change; each looks for itself whether it is the one it waits for."""
        self._changed.set()
        self._changed = asyncio.Event()
