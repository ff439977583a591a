"""One WebSocket connection: a reader and a writer task around the state machine, and bounded room between.

It knows nothing of the worker's process or of what messages mean (`machine.py` does). Invariants: a chunk's
metadata and its bytes are sent back to back, by the one task that writes; a credit goes back to the worker
only after the socket took the chunk, so a slow client slows its own session and nothing else grows; when the
connection ends, however it ends, its session is released.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable

from fastapi import WebSocket, WebSocketDisconnect
from starlette.types import Message

from service import ipc
from service.api.machine import Machine, Outcome, Reply, State
from service.api.outbox import Outbox, OutboxFull
from service.api.worker_client import WorkerClient
from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError
from service.protocol import encode_message

logger = logging.getLogger(__name__)


class Connection:
    """An accepted WebSocket and the session it may have. `run` returns when both are over."""

    def __init__(
        self,
        websocket: WebSocket,
        worker: WorkerClient,
        *,
        config: ServiceConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._websocket = websocket
        self._worker = worker
        self._config = config
        self._clock = clock
        self._machine = Machine(config, new_id=lambda: uuid.uuid4().hex, now=clock())
        self._timer: asyncio.Timeout | None = None
        self._outbox = Outbox(control=config.control_queue, chunks=config.session_credits)

    async def run(self) -> None:
        reader = asyncio.create_task(self._read(), name="websocket-reader")
        writer = asyncio.create_task(self._write(), name="websocket-writer")
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            if self._failed(reader):
                self.end(ErrorCode.INTERNAL_ERROR, "A fault of the server.")
                await asyncio.wait({writer}, timeout=self._config.close_timeout)
            self._failed(writer)
        finally:
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            await self._worker.release(self._machine.session)

    def _failed(self, task: "asyncio.Task[None]") -> bool:
        """Whether a task ended by a fault of ours, which is logged: the connection ends, the others go on."""
        if not task.done() or (fault := task.exception()) is None:
            return False
        logger.error("session %s: %s failed", self._machine.session, task.get_name(), exc_info=fault)
        return True

    def end(self, code: ErrorCode, message: str) -> None:
        """Says a fatal error as the last word, unless the last word is said. Never waits."""
        self._say(self._machine.fail(code, message, now=self._clock()))

    # The worker's side: called by the router, so neither waits nor raises

    def deliver(self, event: ipc.SessionEvent) -> None:
        try:
            replies = self._machine.event(event, self._clock())
        except ValueError:
            logger.exception("session %s: %s is not a message", event.session, type(event).__name__)
            replies = self._machine.fail(ErrorCode.INTERNAL_ERROR, "A fault of the server.", now=self._clock())
        self._say(replies)

    def worker_lost(self, code: ErrorCode, message: str) -> None:
        self.end(code, message)

    # The client's side

    async def _read(self) -> None:
        """Until the client is gone, or does not close its side after the last word."""
        while True:
            await self._outbox.wait_for_room()
            received = await self._receive()
            if received is None or received["type"] == "websocket.disconnect":
                return
            await self._handle(received.get("text"), received.get("bytes"))

    async def _receive(self) -> Message | None:
        """The next message, however long the machine's deadlines allow; None if the client does not close."""
        while True:
            try:
                async with asyncio.timeout(self._machine.deadline() - self._clock()) as self._timer:
                    return await self._websocket.receive()
            except TimeoutError:
                if self._machine.state is State.CLOSED:
                    return None
                self._say(self._machine.overdue(self._clock()))
            finally:
                self._timer = None

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
                try:
                    await self._worker.open(start, self)
                except SessionError as error:
                    self.end(error.code, error.message)
            case command:
                await self._worker.send(command)

    def _say(self, replies: tuple[Reply, ...]) -> None:
        try:
            for reply in replies:
                self._outbox.put(reply)
        except OutboxFull as error:
            logger.warning("session %s: client too slow (%s)", self._machine.session, error)
            last = self._machine.fail(ErrorCode.SLOW_CONSUMER, "Too many messages wait for you.", now=self._clock())
            for reply in last:
                self._outbox.replace(reply)
        if self._timer is not None and not self._timer.expired():
            remaining = self._machine.deadline() - self._clock()
            self._timer.reschedule(asyncio.get_running_loop().time() + remaining)

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
            if reply.close is not None:
                return

    async def _send(self, reply: Reply) -> None:
        await self._websocket.send_text(encode_message(reply.message))
        if reply.payload is not None:
            await self._websocket.send_bytes(reply.payload)
            self._machine.took_chunk(self._clock())
            await self._worker.send(ipc.Credit(session=self._machine.session))
        if reply.close is not None:
            await self._websocket.close(reply.close)
