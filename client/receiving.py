"""The receiving half of a session: messages in from the socket, chunks out to the program, and who waits for what.

Knows the wire and what each message changes; of what a program asks for only the names under which answers come.
Invariants: one task reads; when it ends, everybody who waits hears why, and iteration tells it after the chunks that
came before. A chunk is handed out once, and not after it was taken back. A connection that is lost is replaced while
the server keeps the session, and nobody has to mind.
"""

import asyncio
import time
from contextlib import suppress
from enum import Enum
from typing import Self

from client.answers import Answer, Answers
from client.buffer import ChunkBuffer
from client.chunk import LOSSLESS_FORMATS, Chunk
from client.comeback import ResumeTicket
from client.connection import ClientOptions
from client.errors import (
    ClientError,
    ClientStateError,
    ConnectionLost,
    ProtocolViolation,
    RequestRefused,
    SessionEnded,
    SessionFailed,
    WaitTimeout,
)
from client.link import Link
from client.notices import ChunksDiscarded, Disconnected, NoticeHandler, Notices, ServerNotice
from client.receiver import Receiver
from client.switch import InteractionMessage, PendingSwitches
from client.viewer import Viewer
from service.protocol import ServerMessage, UnknownMessage
from service.protocol.client import SessionPing, SessionStop
from service.protocol.server import (
    ErrorMessage,
    Role,
    SessionCheckpointed,
    SessionControlApplied,
    SessionDirection,
    SessionDone,
    SessionForked,
    SessionPong,
    SessionQueued,
    SessionResumed,
    VideoDiscard,
    VideoStart,
)

RESUME_REFUSED = frozenset({"resume_token_invalid", "session_unknown", "session_ended"})
"""What a server says of a session that it does not let go on."""


class SessionState(Enum):
    CONNECTED = "connected"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Receiving:
    """What `client.client.Session` is made of, but for what it asks."""

    def __init__(self, link: Link, options: ClientOptions, *, on_notice: NoticeHandler | None = None) -> None:
        self.state = SessionState.CONNECTED
        self.done: SessionDone | None = None
        self.started_at: float | None = None  # time.monotonic() second at which session.start was sent
        self.notices = Notices(options.notices, on_notice)
        self.role: Role = "director"
        self._link = link
        self._options = options
        self._receiver = Receiver()
        self._buffer = ChunkBuffer(options.buffer_chunks)
        self._viewer: Viewer | None = None
        self.paced = False
        """The program shows what comes as a player would, and the server is told where it is."""
        self._failure: ClientError | None = None
        self._over = asyncio.Event()
        self._starting: Answer[VideoStart] | None = None
        self._switches = PendingSwitches(options.pending_prompts)
        self._pongs = Answers[float]()
        self._controls = Answers[SessionControlApplied]()
        self._forks = Answers[SessionForked]()
        self._checkpoints = Answers[SessionCheckpointed]()
        self._asked = 0  # prompts, pings and controls, for their names
        self._reporter: asyncio.Task[None] | None = None
        self._tasks = [asyncio.create_task(self._read(), name="longtake-client-reader")]

    @property
    def info(self) -> VideoStart:
        """What the server said about the video. Raises ClientStateError before `start` has returned."""
        if self._receiver.info is None:
            raise ClientStateError("expected a started session, but video.start has not come")
        return self._receiver.info

    @property
    def ticket(self) -> ResumeTicket | None:
        """What another program needs to go on with the session; None for who only watches."""
        return self._link.comeback.ticket(self._receiver.last_sequence)

    @property
    def missing(self) -> int:
        """Chunks that were numbered but never came."""
        return self._receiver.missing

    @property
    def duplicated(self) -> int:
        """Chunks that came again; they are not handed out."""
        return self._receiver.duplicated

    @property
    def position(self) -> float:
        """Media seconds on screen: of the program's own player, else of one that plays what the program takes."""
        return 0.0 if self._viewer is None else self._viewer.position(time.monotonic())

    # Chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk. Raises SessionFailed, ConnectionLost, WaitTimeout or ProtocolViolation if it ended badly."""
        chunk = await self._buffer.get()
        if chunk is not None:
            self._on_taken(chunk)
            return chunk
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    def _on_taken(self, chunk: Chunk) -> None:
        if self._viewer is None:
            return
        self._viewer.taken(chunk, time.monotonic())
        if not self._viewer.shows:
            return
        if self.state is SessionState.ENDED:
            self._viewer.end(time.monotonic())
        elif self._reporter is None:
            self._reporter = asyncio.create_task(self._report_playback(self._viewer), name="longtake-client-playback")
            self._tasks.append(self._reporter)

    # The reader task

    async def _read(self) -> None:
        try:
            while self.done is None:
                await self._take_next()
        except ClientError as error:
            self._failure = error
        except Exception as error:  # the task's boundary: whoever iterates must hear of it
            self._failure = ClientError(f"the client itself failed: {error!r}")
            self._failure.__cause__ = error
        self._end(self._failure or SessionEnded("the session has ended"))

    async def _take_next(self) -> None:
        try:
            await self._take(await self._link.receive(self._patience()))
        except (ConnectionLost, WaitTimeout) as lost:
            if self.state not in (SessionState.RUNNING, SessionState.STOPPING):
                raise
            if await self._link.reopen(lost, last_sequence=self._receiver.last_sequence):
                self._on_lost(lost)
            self._receiver.reconnected()

    def _on_lost(self, lost: ClientError) -> None:
        """What was asked may not have arrived: whoever waits has to ask again, but prompts are sent again from here."""
        self.notices.add(Disconnected(str(lost)))
        reason = ConnectionLost(f"the connection was lost before the answer came: {lost}")
        for answers in (self._pongs, self._controls, self._forks, self._checkpoints):
            answers.end(reason)

    def _patience(self) -> float | None:
        # Before session.start there is nothing to wait for, and from then until video.start `start` keeps the time.
        waiting = self.state in (SessionState.CONNECTED, SessionState.STARTING)
        return None if waiting else self._options.message_timeout

    async def _take(self, message: str | bytes) -> None:
        now = time.monotonic()
        if isinstance(message, str):
            self._handle(self._receiver.text(message), now)
            return
        chunk = self._receiver.binary(message, now)
        if chunk is None:
            return
        if chunk.metadata.format in LOSSLESS_FORMATS:
            await asyncio.to_thread(chunk.verify)
        switches = self._switches.on_chunk(chunk.metadata, now)
        if self._viewer is not None:
            self._viewer.received(chunk, switches)
        await self._buffer.put(chunk)

    def _handle(self, message: ServerMessage | UnknownMessage, now: float) -> None:
        match message:
            case VideoStart():
                self._on_start(message)
            case VideoDiscard():
                self._on_discard(message, now)
            case SessionResumed():
                self._on_resumed(message)
            case SessionDirection():
                self.role = message.role
                self._link.comeback.note(message)
                self.notices.add(message)
            case SessionControlApplied():
                self._controls.give(message.event_id, message)
            case SessionForked():
                self._forks.give(message.event_id, message)
            case SessionCheckpointed():
                self._checkpoints.give(message.event_id, message)
            case SessionPong():
                self._pongs.give(message.id, now)
            case SessionDone():
                self.done = message
            case ErrorMessage():
                self._on_error(message)
            case _ if isinstance(message, InteractionMessage):
                self._switches.on_message(message, now)
            case _ if isinstance(message, ServerNotice):
                self._on_notice(message)

    def _on_notice(self, message: ServerNotice) -> None:
        if isinstance(message, SessionQueued) and self.notices.queued is None and self._starting is not None:
            self._starting.extend(self._options.queue_timeout)
        self.notices.add(message)

    def _on_discard(self, message: VideoDiscard, now: float) -> None:
        dropped = self._buffer.take_back(message.from_sequence)
        taken: tuple[int, ...] = ()
        if self._viewer is not None:
            taken = self._viewer.take_back(message.from_sequence, dropped=dropped, now=now)
        numbers = tuple(chunk.sequence for chunk in dropped)
        self.notices.add(ChunksDiscarded(message.from_sequence, dropped=numbers, taken=taken, reason=message.reason))

    def _on_resumed(self, message: SessionResumed) -> None:
        self._link.comeback.note(message)
        if message.cause == "connection" and self._link.is_down:
            self._settle()
        self.notices.add(message)

    def _settle(self) -> None:
        self._link.settle()
        self._tasks.append(asyncio.create_task(self._say_again(), name="longtake-client-resumed"))

    async def _say_again(self) -> None:
        """What may have been lost with the connection; and a word by which the server knows that its token is here."""
        with suppress(ClientError):
            await self._link.send(SessionPing())
            for message in self._switches.unanswered():
                await self._link.send(message)
            if self.state is SessionState.STOPPING:
                await self._link.send(SessionStop())

    def _on_start(self, message: VideoStart) -> None:
        self.role = message.role
        self._link.comeback.note(message)
        if self._link.is_down:
            if message.role == "viewer":
                self._settle()
            return
        if self.state is not SessionState.STARTING or self._starting is None:
            raise ProtocolViolation(f"expected no video.start in a session that is {self.state.value}")
        self.state = SessionState.RUNNING
        self.notices.admitted()
        self._viewer = Viewer(message.fps, shows=self.paced)
        # Its answers also show that a server which has nothing to send, as in a pause, is still there.
        interval = (
            min(message.limits.idle_timeout_s or self._options.message_timeout, self._options.message_timeout) / 3
        )
        keeper = self._keep_alive(interval)
        self._tasks.append(asyncio.create_task(keeper, name="longtake-client-keep-alive"))
        self._starting.give(message)

    def _on_error(self, message: ErrorMessage) -> None:
        if message.fatal:
            self._on_fatal(message)
        if self._link.is_down and message.code in RESUME_REFUSED:
            raise SessionFailed(message)
        self.notices.add(message)
        refusal = RequestRefused.from_message(message)
        asked = (self._controls, self._forks, self._checkpoints)
        if self._switches.on_error(message) or any(answers.fail(message.event_id, refusal) for answers in asked):
            return
        if self._starting is not None and self._starting.is_open:
            self.state = SessionState.CONNECTED
            self._starting.fail(refusal)

    def _on_fatal(self, message: ErrorMessage) -> None:
        failed = SessionFailed(message)
        if self._link.is_down and message.retryable:
            raise ConnectionLost(str(failed))  # one attempt has failed, the next may not
        raise failed

    def _end(self, reason: ClientError) -> None:
        self.state = SessionState.ENDED
        self._buffer.close()
        self._switches.end(reason)
        if self._viewer is not None:
            self._viewer.end(time.monotonic())
        self._pongs.end(reason)
        for answers in (self._controls, self._forks, self._checkpoints):
            answers.end(reason)
        if self._starting is not None:
            self._starting.fail(reason)
        self._over.set()
        self._link.end()

    async def _keep_alive(self, interval: float) -> None:
        """Tell the server now and then that somebody is there."""
        while not self._over.is_set():
            await asyncio.sleep(interval)
            with suppress(ConnectionLost, WaitTimeout):
                await self._link.send(SessionPing())

    async def _report_playback(self, viewer: Viewer) -> None:
        """Tell the server where the viewer is, at a steady rate, also when the picture holds."""
        while self.state is SessionState.RUNNING and not viewer.has_own_player:
            if self.role == "director":
                with suppress(ConnectionLost, WaitTimeout):
                    await self._link.send(viewer.message(time.monotonic()))
            await asyncio.sleep(self._options.playback_interval)
