"""One WebSocket connection: a reader, a writer and a timekeeper around the state machine, bounded room between.

It knows nothing of the worker's process or of what messages mean (`machine.py` and the session's hub do). Invariants: a
chunk's metadata and its bytes are sent back to back, by the one task that writes; what the session says to all is read
from its replay, so that nothing is held here for a slow client; however it ends, its session learns of it.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from fastapi import WebSocket, WebSocketDisconnect

from service.access.principal import Principal, Scope
from service.api.gate import principal_of
from service.api.hub import SessionHub
from service.api.hubs import Hubs
from service.api.machine import Machine, Outcome, State
from service.api.metrics import ConnectionMeter
from service.api.outbox import Outbox, OutboxFull
from service.api.replay import Entry, Feed, FellBehind
from service.api.reply import Reply
from service.api.services import Services
from service.api.steering import steer
from service.errors import CloseCode, ErrorCode, ProtocolError, SessionError, facts_of
from service.protocol import ClientMessage, encode_message
from service.protocol.client import (
    SessionControl,
    SessionJoin,
    SessionPing,
    SessionPlayback,
    SessionResume,
    SessionStart,
    SessionStop,
    SlowConsumer,
)
from service.protocol.server import ChunkMetadata, Role, SessionControlApplied

logger = logging.getLogger(__name__)


class Connection:
    """An accepted WebSocket and its part in a session. `run` returns when it is over."""

    def __init__(
        self, websocket: WebSocket, hubs: Hubs, *, services: Services, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._websocket = websocket
        self.principal = principal_of(websocket)
        self._hubs = hubs
        self._services = services
        self._config = services.config
        self._clock = clock
        self._machine = Machine(services.config, now=clock())
        self._meter = ConnectionMeter(services.metrics)
        self._outbox = Outbox(services.config.control_queue)
        self._hub: SessionHub | None = None
        self._feed: Feed | None = None
        self._sending: Entry | None = None
        self._report_at = clock() + services.config.stats_interval
        self._waking_at = 0.0
        self._closed_by_client = False
        self._stirred = asyncio.Event()
        self._woken = asyncio.Event()

    @property
    def waiting_chunks(self) -> tuple[Entry, ...]:
        """The chunks that wait for this client, the one that is being sent included."""
        waiting = self._feed.waiting() if self._feed else ()
        sending = self._sending
        return (sending, *waiting) if sending is not None and sending.chunk is not None else waiting

    async def run(self) -> None:
        reader = asyncio.create_task(self._read(), name="websocket-reader")
        writer = asyncio.create_task(self._write(), name="websocket-writer")
        timekeeper = asyncio.create_task(self._keep_time(), name="websocket-timekeeper")
        tasks = (reader, writer, timekeeper)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if any([self._failed(reader), self._failed(timekeeper)]):
                self.end(ErrorCode.INTERNAL_ERROR, "A fault of the server.")
                await asyncio.wait({writer}, timeout=self._config.close_timeout)
            self._failed(writer)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._hub is not None:
                # Whoever was refused, or closed in order, does not come back; a last word may have been lost.
                refused = self._machine.state is State.CLOSED and not self._hub.ended
                self._hub.leave(self, for_good=self._closed_by_client or refused)
                self._hubs.left(self._hub)

    def _failed(self, task: "asyncio.Task[None]") -> bool:
        """Whether a task ended by a fault of ours, which is logged: the connection ends, the others go on."""
        if not task.done() or (fault := task.exception()) is None:
            return False
        logger.error("%s failed", task.get_name(), exc_info=fault)
        return True

    # The session's side (a Listener): none of these waits or raises

    @property
    def slow_consumer(self) -> SlowConsumer:
        return self._machine.slow_consumer

    def tell(self, *replies: Reply) -> None:
        self._say(*replies)

    def began(self, role: Role, feed: Feed, *replies: Reply) -> None:
        self._machine.began(role, now=self._clock())
        self._feed = feed
        self._say(*replies)
        self.wake()

    def takes_role(self, role: Role) -> None:
        self._machine.role = role

    def replaced(self) -> None:
        self.end(ErrorCode.CONNECTION_REPLACED, "Another connection went on with this session.")

    def refused(self, *replies: Reply) -> None:
        self._hub = None
        self._machine.refused(self._clock())
        self._say(*replies)

    def ends(self, last: Reply) -> None:
        self._machine.ended(self._clock())
        self._say(last)

    def wake(self) -> None:
        self._woken.set()

    def queued(self, position: int, waiting: int) -> None:
        self._say(*self._machine.queued(position, waiting, now=self._clock()))

    def admitted(self) -> None:
        self._machine.admitted(self._clock())

    def draining(self, deadline_seconds: float) -> None:
        self._say(*self._machine.draining(deadline_seconds))

    def end(self, code: ErrorCode, message: str) -> None:
        """Says a fatal error as the last word, unless the last word is said."""
        self._say(*self._machine.fail(code, message, now=self._clock()))

    # The client's side

    async def _read(self) -> None:
        """Until the client is gone."""
        while True:
            await self._outbox.wait_for_room()
            received = await self._websocket.receive()
            if received["type"] == "websocket.disconnect":
                self._closed_by_client = received.get("code") == CloseCode.NORMAL
                return
            if self._hub is not None:
                self._hub.renew()
                if self._machine.role == "director":
                    self._hubs.heard(self._hub.session)
            await self._handle(received.get("text"), received.get("bytes"))

    async def _handle(self, text: str | None, payload: bytes | None) -> None:
        now = self._clock()
        if text is not None:
            outcome = self._machine.text(text, now)
        else:
            outcome = self._machine.binary(len(payload or b""), now)
        await self._carry_out(outcome)

    async def _carry_out(self, outcome: Outcome) -> None:
        self._say(*outcome.replies)
        if outcome.request is None:
            return
        try:
            await self._ask(outcome.request)
        except (ProtocolError, SessionError) as error:
            self._refuse(error, outcome.request)

    async def _ask(self, request: ClientMessage) -> None:
        _check_scope(self.principal, request)
        match request:
            case SessionStart():
                self._meter.asked(self._clock())
                self._hub = await self._hubs.start(request, self.principal)
                await self._hub.come(self)
            case SessionResume():
                self._hub = await self._hubs.resume(request, self.principal)
                await self._hub.come(self, request)
            case SessionJoin():
                self._hub = await self._hubs.join(request, self, principal=self.principal)
            case SessionControl(action="seek_live"):
                self._seek_live(request)
            case _:
                if self._hub is not None:
                    await steer(self._hub, request, listener=self, services=self._services)

    def _refuse(self, error: ProtocolError | SessionError, request: ClientMessage) -> None:
        """A refusal leaves the connection as it was, unless its code says that there is no going on."""
        if isinstance(request, SessionStart | SessionResume | SessionJoin):
            self._hub = None
            self._machine.refused(self._clock())
        if facts_of(error.code).fatal:
            self.end(error.code, error.message)
            return
        if isinstance(error, SessionError):
            event_id = getattr(request, "event_id", None) or ""
            error = ProtocolError(error.code, error.message, event_id=event_id)
        self._say(*self._machine.refusal(error))

    def _seek_live(self, request: SessionControl) -> None:
        newest = self._feed.seek_live() if self._feed else None
        if newest is None:
            newest = self._hub.audience.next_sequence if self._hub else 0
        self._say(Reply(SessionControlApplied(action="seek_live", sequence=newest, event_id=request.event_id)))

    def _say(self, *replies: Reply) -> None:
        try:
            self._outbox.put(*replies)
        except OutboxFull as error:
            logger.warning("client too slow (%s)", error)
            self._cut_short("Too many messages wait for you.")
        for reply in replies:
            self._meter.said(reply)
        self._woken.set()
        if self._deadline() < self._waking_at:
            self._stirred.set()

    def _cut_short(self, message: str) -> None:
        """The last word to a client that does not take its messages: what waits is dropped for it."""
        for reply in self._machine.fail(ErrorCode.SLOW_CONSUMER, message, now=self._clock()):
            self._outbox.replace(reply)
            self._meter.said(reply)
        self._woken.set()
        self._stirred.set()

    # Time

    async def _keep_time(self) -> None:
        """Carries out what is due, until the client does not close its side after the last word."""
        while not (self._machine.state is State.CLOSED and self._clock() >= self._machine.deadline()):
            self._waking_at = self._deadline()
            self._stirred.clear()
            if not await self._stirred_before(self._waking_at):
                self._check_clock()

    async def _stirred_before(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout(deadline - self._clock()):
                return await self._stirred.wait()
        except TimeoutError:
            return False

    def _deadline(self) -> float:
        deadline = self._machine.deadline()
        if self._machine.state is State.CLOSED:
            return deadline
        if self._machine.slow_consumer == "disconnect" and self._feed is not None:
            deadline = min(deadline, self._clock() + self._config.slow_consumer_timeout / 4)
        return min(deadline, self._report_at) if self._machine.state is State.STREAMING else deadline

    def _check_clock(self) -> None:
        now = self._clock()
        self._say(*self._machine.overdue(now))
        limit = self._config.slow_consumer_timeout
        if self._machine.slow_consumer == "disconnect" and any(
            entry.at + limit <= now for entry in self.waiting_chunks[:1]
        ):
            self._cut_short(f"A chunk waited for you longer than {limit:g} s.")
        if now >= self._report_at:
            self._report_at = now + self._config.stats_interval
            # Whoever takes nothing needs no figures, and they must not fill the room of what is needed.
            if self._outbox.empty and self._hub is not None:
                self._say(*self._machine.report(now, self._hub.pulse()))

    # The socket

    async def _write(self) -> None:
        """Until the last word is said, or the client does not take what it is sent."""
        while True:
            entry = await self._next()
            try:
                async with asyncio.timeout(self._config.send_timeout):
                    await self._send(entry)
            except TimeoutError:
                logger.warning("a client takes no data")
                return
            except (WebSocketDisconnect, RuntimeError) as error:
                # The server below closed the socket by itself (1007, 1009, a missed pong) or the client did.
                logger.info("a socket is closed (%s)", str(error) or "by the client")
                return
            self._sending = None
            if entry.reply.close is not None:
                return

    async def _next(self) -> Entry:
        """What this client is told next: what is for it alone comes first."""
        while True:
            self._woken.clear()
            reply = self._outbox.take()
            if reply is not None:
                return Entry(reply, encode_message(reply.message), self._clock())
            entry = self._next_of_session()
            if entry is not None:
                return entry
            await self._woken.wait()

    def _next_of_session(self) -> Entry | None:
        try:
            entry = self._feed.take() if self._feed else None
        except FellBehind:
            self._cut_short("You are further behind than what is kept.")
            return None
        if entry is not None and entry.reply.close is not None:
            if self._machine.state is State.CLOSED:
                return None
            self._machine.ended(self._clock())
            self._stirred.set()
            self._meter.said(entry.reply)
        self._sending = entry
        return entry

    async def _send(self, entry: Entry) -> None:
        await self._websocket.send_text(entry.text)
        if entry.reply.payload is not None:
            await self._websocket.send_bytes(entry.reply.payload)
            await self._took_chunk(entry)
        if self._hub is not None:
            self._hub.renew()
        if entry.reply.close is not None:
            await self._websocket.close(entry.reply.close)

    async def _took_chunk(self, entry: Entry) -> None:
        now, chunk = self._clock(), entry.reply.message
        assert isinstance(chunk, ChunkMetadata), "only chunks have bytes"
        self._machine.took(chunk, now)
        self._meter.took(chunk, now)
        if self._hub is not None:
            await self._hub.took(self, chunk.sequence)


def _check_scope(principal: Principal, request: ClientMessage) -> None:
    """Who may only look may watch, and say so. Raises ProtocolError."""
    watches = isinstance(request, SessionJoin | SessionPlayback | SessionPing | SessionStop)
    if isinstance(request, SessionControl):
        watches = request.action == "seek_live"
    if not principal.may(Scope.SESSIONS if not watches else Scope.SESSIONS_READ):
        event_id = getattr(request, "event_id", None) or ""
        message = f"The key has no scope {Scope.SESSIONS.value}."
        raise ProtocolError(ErrorCode.SCOPE_MISSING, message, field="type", event_id=event_id)
