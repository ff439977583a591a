"""The API's side of the engine's workers: sends commands, routes events to sessions, knows which workers live.

It knows nothing of the wire, of sockets or of what events mean; who may have a place is `admission.py`'s to say, and
where `seats.py`'s. Invariants: routing never waits for a session; every session that was opened hears its last event
from a worker, or why there will be none; a place is free again once the worker says so, or does not in time; a session
whose worker is lost goes to another with room at once, and before all who come later.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from service import ipc
from service.api.admission import Admission
from service.api.background import Background
from service.api.fleet import Fleet
from service.api.fleet import WorkerState as WorkerState
from service.api.seats import Opened, Seat
from service.api.worker_link import Listener, LossKind, SessionCommand, WorkerLink
from service.config import ServiceConfig
from service.errors import ErrorCode

logger = logging.getLogger(__name__)


class WorkerClient(Fleet):
    """All workers as the API sees them, over their restarts: each start of one is one `serve`."""

    def __init__(self, config: ServiceConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(config, clock=clock)
        self._sessions: dict[str, Opened] = {}
        self._admission = Admission(
            places=config.max_sessions * config.workers,
            room=config.waiting_room,
            lease_seconds=config.lease_seconds,
            waiting_timeout=config.waiting_timeout,
        )
        self._background = Background(limit=config.max_jobs, patience=config.answer_timeout, send=self._send)
        self._looked_at = clock()
        self.chunks = self.late_chunks = 0
        """Chunks that came, and those of them that were finished after they were due."""

    # What the rest of the API asks

    @property
    def sessions(self) -> int:
        """Places taken, those included whose client is gone and whose end the worker has not yet reported."""
        return self._admission.active

    @property
    def places(self) -> int:
        """Sessions at once; where memory is for fewer, they take turns in the worker."""
        return self._config.max_sessions * max(self._config.workers, len(self._seats.ready))

    @property
    def waiting(self) -> int:
        """Sessions that wait for a place."""
        return self._admission.waiting

    # What sessions do

    async def open(self, start: ipc.Start, listener: Listener) -> None:
        """Asks for a session; its events, up to Ended or Failed, go to `listener`.

        Where no place is free, the listener is told its position, and again whenever it changes.

        Raises:
            SessionError: the worker is not ready or the server is draining.
            CapacityError: there is no place, neither to run nor to wait.
        """
        self.require_ready()
        self._count_places()
        has_place = self._admission.ask(start.session, self._clock())
        self._sessions[start.session] = Opened(listener, start, start)
        if has_place:
            await self._begin(start.session)
        else:
            self._tell_positions()

    async def send(self, command: SessionCommand) -> None:
        """Passes a command on. To a session that has ended, or a worker that is lost, it goes nowhere."""
        if command.session in self._background:
            await self._background.pass_on(command, self._clock())
            return
        if command.session not in self._sessions:
            return
        if isinstance(command, ipc.Stop):
            await self._stop(command.session)
        else:
            await self._send(self._seats.of(command.session), command)

    async def restart(self, start: ipc.Start) -> None:
        """Tells another worker of a session that has its place already."""
        session, seat = self._sessions.get(start.session), self._seats.of(start.session)
        if session is not None and seat is not None:
            session.told = True
            await self._send(seat, start)

    @property
    def background_room(self) -> int:
        """Sessions of jobs that would be taken now."""
        return self._background.room(self._seats) if self.state is WorkerState.READY else 0

    async def open_background(self, start: ipc.Start, listener: Listener) -> None:
        """A job's session: no place, no lease, no waiting. If its worker is lost, it is over. Raises as `open`."""
        self.require_ready()
        await self._background.open(self._seats, start, listener=listener)

    def renew(self, session: str) -> None:
        """The session's connection shows life."""
        self._admission.renew(session, self._clock())

    async def release(self, session: str) -> None:
        """Nobody listens any more: the worker, if it has heard of the session, is told to stop it."""
        if session in self._background:
            await self._background.release(session, self._clock())
            return
        held = self._sessions.get(session)
        if held is None:
            return
        held.listener = None
        await self._stop(session)
        await self._fill_places()

    # What the process around it does

    async def serve(self, link: WorkerLink) -> None:
        """Runs one start of a worker until it is lost or has ended after `drain`; never raises for its faults."""
        if self._draining:
            return
        seat = Seat(link, places=self._config.max_sessions, heard_at=self._clock())
        self._seats.add(seat)
        self.loss = ""
        self._notify()
        try:
            while seat in self._seats:
                await self._receive_one(seat)
        finally:
            self._lose(seat, "the link to the engine was closed")

    async def begin_drain(self) -> None:
        """Takes no new session, and leaves the others `drain_grace` to end by themselves. This is for good."""
        if self._draining:
            return
        self._draining = True
        self._notify()
        self._background.draining(self._config.drain_grace)
        for name, session in list(self._sessions.items()):
            if session.listener is None:
                continue
            if session.start is None:
                session.listener.draining(self._config.drain_grace)
            else:
                session.listener.end(ErrorCode.SERVER_DRAINING, "The server is shutting down.")
                self._forget(name)
        await self._all_ended(within=self._config.drain_grace)

    async def drain(self) -> None:
        """As `begin_drain`, and then ends those that are left. No other worker is served."""
        await self.begin_drain()
        for seat in self._seats:
            await self._send(seat, ipc.Shutdown())
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

    def lose(self, reason: str, *, kind: LossKind = "ended", link: WorkerLink | None = None) -> None:
        """The worker of `link` is gone, or all (also for who watches its process to call). Sessions move, or wait."""
        for seat in self._seats:
            if link is None or seat.link is link:
                self._let_go(seat, reason, kind=kind)
        self._take_up_sessions()

    def _lose(self, seat: Seat, reason: str, *, kind: LossKind = "ended") -> None:
        if seat in self._seats:
            self._let_go(seat, reason, kind=kind)
            self._take_up_sessions()

    def _let_go(self, seat: Seat, reason: str, *, kind: LossKind) -> None:
        self._heard_at = seat.heard_at
        self._seats.remove(seat)
        self.loss = reason
        self._notify()
        self._background.lost(seat, reason)
        if self._draining:
            self._end_with(seat)
            return
        self.losses[kind] += 1
        logger.error("a worker is lost: %s", reason)
        for name in seat.sessions:
            session = self._sessions[name]
            session.told = False
            if session.listener is None:
                self._forget(name)
            else:
                session.listener.worker_lost(reason)

    def _end_with(self, seat: Seat) -> None:
        """Draining, there is no other worker for its sessions."""
        for name in seat.sessions & self._sessions.keys():
            self._end_one(name, ErrorCode.SERVER_DRAINING, "The server is shutting down.")
            self._forget(name)
        if not len(self._seats):
            self._end_all(ErrorCode.SERVER_DRAINING, "The server is shutting down.")

    def give_up(self) -> None:
        """There will be no other worker: every session is told."""
        self._end_all(ErrorCode.WORKER_DIED, f"The engine stopped: {self.loss}.")

    # Events

    async def _receive_one(self, seat: Seat) -> None:
        try:
            event = await seat.link.receive(self._config.heartbeat_interval)
        except ipc.IpcError as error:
            self._lose(seat, f"it could not be understood ({error})", kind="faulty")
            return
        await self._look_after_sessions()
        if event is None:
            self._check_silence(seat)
            return
        seat.heard_at = self._clock()
        match event:
            case ipc.Ready():
                if not seat.ready:
                    seat.facts = event.facts
                    self._notify()
                    await self._fill_places()
            case ipc.Heartbeat():
                await self._on_heartbeat(seat, event)
            case ipc.Dead():
                self._lose(seat, event.message)
            case _:
                await self._route(seat, event)

    def _take_up_sessions(self) -> None:
        """Sessions that a worker before had go to one that has room."""
        for name, session in self._sessions.items():
            if session.listener is None or session.start is not None or self._seats.seated(name):
                continue
            if self._seats.give(name) is not None:
                session.listener.worker_ready()

    def _check_silence(self, seat: Seat) -> None:
        limit = self._config.heartbeat_timeout
        if not seat.ready:
            limit = max(limit, self._config.worker_start_timeout)
        if self._clock() - seat.heard_at > limit:
            self._lose(seat, f"nothing was heard of it for {limit:g} s", kind="silent")

    async def _on_heartbeat(self, seat: Seat, event: ipc.Heartbeat) -> None:
        seat.heartbeat, seat.full = event, False
        if event.busy and event.idle_seconds > self._config.block_deadline:
            self._lose(seat, f"one block took longer than {self._config.block_deadline:g} s", kind="hung")
        if event.others:
            await self._fill_places()  # others may have left room

    async def _route(self, seat: Seat, event: ipc.SessionEvent) -> None:
        if event.session in self._background:
            self._background.deliver(seat, event)
            return
        session = self._sessions.get(event.session)
        if session is None or event.session not in seat.sessions:
            return
        if isinstance(event, ipc.Full):
            await self._on_full(seat, event.session, session)
            return
        over = isinstance(event, ipc.Ended | ipc.Failed)
        if over:
            self._forget(event.session)
        session.begun |= isinstance(event, ipc.Started)
        if isinstance(event, ipc.Chunk):
            self.chunks += 1
            self.late_chunks += event.lead_seconds < 0
        if session.listener is not None:
            session.listener.deliver(event)
        if over:
            await self._fill_places()

    async def _on_full(self, seat: Seat, name: str, session: Opened) -> None:
        """Another API process was first: the session waits, before all others, for the next room."""
        seat.full, session.told = True, False
        self._seats.leave(name)
        if session.listener is None:
            self._forget(name)
        elif session.begun:
            session.listener.worker_lost("its worker has no room")
        else:
            session.start = session.asked
            self._admission.put_back(name, self._clock())
        await self._fill_places()

    # Places

    async def _begin(self, name: str) -> None:
        """Tells a worker of a session that has its place now."""
        session, seat = self._sessions.get(name), self._seats.give(name)
        if session is None or session.start is None:
            return
        if seat is None:
            self._admission.put_back(name, self._clock())
            return
        start, session.start = session.start, None
        session.told = True
        if session.listener is not None:
            session.listener.admitted()
        await self._send(seat, start)

    async def _stop(self, name: str) -> None:
        """Asks the worker to end a session; its place is free after `answer_timeout` even without an answer."""
        if not self._sessions[name].told:
            self._forget(name)
            return
        self._admission.end(name, self._clock(), within=self._config.answer_timeout)
        await self._send(self._seats.of(name), ipc.Stop(session=name))

    def _count_places(self) -> None:
        """Places are there as far as seats are, and those whose worker was lost come first."""
        seated = set().union(*(seat.sessions for seat in self._seats))
        lost = sum(session.start is None and name not in seated for name, session in self._sessions.items())
        self._admission.places = min(self.places, self._admission.active + max(0, self._seats.room - lost))

    async def _fill_places(self) -> None:
        self._take_up_sessions()
        self._count_places()
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
        self._background.look(now)
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
        self._seats.leave(name)
        assert self._admission.leave(name), f"{name} had neither a place nor a turn"
        self._notify()

    async def _send(self, seat: Seat | None, command: ipc.Command) -> None:
        if seat is None:
            return
        try:
            await seat.link.send(command)
        except ipc.IpcError as error:
            self._lose(seat, f"it does not take commands ({error})", kind="deaf")

    def _end_all(self, code: ErrorCode, message: str) -> None:
        self._background.end_all(code, message)
        sessions = list(self._sessions.values())
        self._sessions.clear()
        self._admission.clear()
        for seat in self._seats:
            seat.sessions.clear()
        self._notify()
        for session in sessions:
            if session.listener is not None:
                session.listener.end(code, message)
