"""One WebSocket connection: a reader, a writer and a timekeeper around the state machine, bounded room between.

It knows nothing of the worker's process or of what messages mean (`machine.py` does). Invariants: a chunk's
metadata and its bytes are sent back to back, by the one task that writes; no more chunks are held than the
outbox has room for, whatever the client does; when the connection ends, however it ends, its session is released.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable

from fastapi import WebSocket, WebSocketDisconnect

from service import ipc
from service.api.machine import Machine, Outcome, State
from service.api.metrics import Metrics, SessionMeter
from service.api.outbox import Outbox, OutboxFull
from service.api.reply import Reply, thin
from service.api.worker_client import WorkerClient
from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError
from service.protocol import encode_message
from service.protocol.server import ChunkMetadata

logger = logging.getLogger(__name__)


class Connection:
    """An accepted WebSocket and the session it may have. `run` returns when both are over."""

    def __init__(
        self,
        websocket: WebSocket,
        worker: WorkerClient,
        *,
        config: ServiceConfig,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._websocket = websocket
        self._worker = worker
        self._config = config
        self._clock = clock
        self._machine = Machine(config, new_id=lambda: uuid.uuid4().hex, now=clock())
        self._meter = SessionMeter(metrics)
        # One more than there are credits: with `drop` the newest chunk waits here without one.
        self._outbox = Outbox(control=config.control_queue, chunks=config.session_credits + 1)
        self._owed = 0
        self._report_at = clock() + config.stats_interval
        self._waking_at = 0.0
        self._stirred = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        """Bytes of media that wait for this client here."""
        return self._outbox.payload_bytes

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
            self._meter.left(self._clock())
            await self._worker.release(self._machine.session)

    def _failed(self, task: "asyncio.Task[None]") -> bool:
        """Whether a task ended by a fault of ours, which is logged: the connection ends, the others go on."""
        if not task.done() or (fault := task.exception()) is None:
            return False
        logger.error("session %s: %s failed", self._machine.session, task.get_name(), exc_info=fault)
        return True

    # The service's side: called by the router, so none of these waits or raises

    def deliver(self, event: ipc.SessionEvent) -> None:
        now = self._clock()
        try:
            replies = self._machine.event(event, now)
        except ValueError:
            logger.exception("session %s: %s is not a message", event.session, type(event).__name__)
            replies = self._machine.fail(ErrorCode.INTERNAL_ERROR, "A fault of the server.", now=now)
        self._meter.event(event)
        self._say(replies)

    def end(self, code: ErrorCode, message: str) -> None:
        """Says a fatal error as the last word, unless the last word is said."""
        self._say(self._machine.fail(code, message, now=self._clock()))

    def queued(self, position: int, waiting: int) -> None:
        self._say(self._machine.queued(position, waiting, now=self._clock()))

    def admitted(self) -> None:
        now = self._clock()
        self._machine.admitted(now)
        self._meter.admitted(now)

    def draining(self, deadline_seconds: float) -> None:
        self._say(self._machine.draining(deadline_seconds))

    # The client's side

    async def _read(self) -> None:
        """Until the client is gone."""
        while True:
            await self._outbox.wait_for_room()
            received = await self._websocket.receive()
            if received["type"] == "websocket.disconnect":
                return
            self._worker.renew(self._machine.session)
            await self._handle(received.get("text"), received.get("bytes"))

    async def _handle(self, text: str | None, payload: bytes | None) -> None:
        now = self._clock()
        if text is not None:
            outcome = self._machine.text(text, now)
        else:
            outcome = self._machine.binary(len(payload or b""), now)
        await self._carry_out(outcome)

    async def _carry_out(self, outcome: Outcome) -> None:
        self._say(outcome.replies)
        match outcome.command:
            case None:
                return
            case ipc.Start() as start:
                self._outbox.thin = thin if self._machine.slow_consumer == "drop" else None
                self._meter.asked(self._clock())
                try:
                    await self._worker.open(start, self)
                except SessionError as error:
                    self.end(error.code, error.message)
            case command:
                await self._worker.send(command)

    def _say(self, replies: tuple[Reply, ...]) -> None:
        now = self._clock()
        try:
            for reply in replies:
                self._owed += self._outbox.put(reply, now)
        except OutboxFull as error:
            logger.warning("session %s: client too slow (%s)", self._machine.session, error)
            self._cut_short("Too many messages wait for you.")
        for reply in replies:
            self._meter.said(reply, now)
        if self._owed or self._deadline() < self._waking_at:
            self._stirred.set()

    def _cut_short(self, message: str) -> None:
        """Ends a session whose client does not take its messages: what waits is dropped for the last word."""
        now = self._clock()
        for reply in self._machine.fail(ErrorCode.SLOW_CONSUMER, message, now=now):
            self._outbox.replace(reply, now)
            self._meter.said(reply, now)

    # Time

    async def _keep_time(self) -> None:
        """Carries out what is due, until the client does not close its side after the last word."""
        while not (self._machine.state is State.CLOSED and self._clock() >= self._machine.deadline()):
            self._waking_at = self._deadline()
            self._stirred.clear()
            if not self._owed and not await self._stirred_before(self._waking_at):
                self._check_clock()
            await self._give_credits()

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
        oldest = self._outbox.oldest_chunk() if self._machine.slow_consumer == "disconnect" else None
        if oldest is not None:
            deadline = min(deadline, oldest + self._config.slow_consumer_timeout)
        return min(deadline, self._report_at) if self._machine.state is State.STREAMING else deadline

    def _check_clock(self) -> None:
        now = self._clock()
        self._say(self._machine.overdue(now))
        oldest = self._outbox.oldest_chunk()
        limit = self._config.slow_consumer_timeout
        if self._machine.slow_consumer == "disconnect" and oldest is not None and now >= oldest + limit:
            self._cut_short(f"A chunk waited for you longer than {limit:g} s.")
        if now >= self._report_at:
            self._report_at = now + self._config.stats_interval
            # Whoever takes nothing needs no figures, and they must not fill the room of what is needed.
            if self._outbox.empty:
                self._say(self._machine.report(now))

    async def _give_credits(self) -> None:
        """Credits for chunks that were thinned, or will be, rather than hold up the worker."""
        owed, self._owed = self._owed, 0
        if owed:
            await self._worker.send(ipc.Credit(session=self._machine.session, chunks=owed))

    # The socket

    async def _write(self) -> None:
        """Until the last word is said, or the client does not take what it is sent."""
        while True:
            reply = await self._outbox.get()
            try:
                async with asyncio.timeout(self._config.send_timeout):
                    await self._send(reply)
            except TimeoutError:
                logger.warning("session %s: the client takes no data", self._machine.session)
                return
            except (WebSocketDisconnect, RuntimeError) as error:
                # The server below closed the socket by itself (1007, 1009, a missed pong) or the client did.
                logger.info(
                    "session %s: the socket is closed (%s)", self._machine.session, str(error) or "by the client"
                )
                return
            self._outbox.sent()
            if reply.close is not None:
                return

    async def _send(self, reply: Reply) -> None:
        await self._websocket.send_text(encode_message(reply.message))
        if reply.payload is not None:
            await self._websocket.send_bytes(reply.payload)
            await self._took_chunk(reply)
        self._worker.renew(self._machine.session)
        if reply.close is not None:
            await self._websocket.close(reply.close)

    async def _took_chunk(self, reply: Reply) -> None:
        now = self._clock()
        assert isinstance(reply.message, ChunkMetadata)
        self._machine.took(reply.message, now)
        self._meter.took(reply.message, now)
        if reply.credit:
            await self._worker.send(ipc.Credit(session=self._machine.session))
