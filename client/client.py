"""The Python client: one WebSocket, one session, chunks to iterate over and prompts to send while they come.

    async with connect("ws://127.0.0.1:8000") as session:
        await session.start("a lighthouse at dusk", seed=7, max_seconds=60)
        async for chunk in session:
            frames = chunk.numpy()                                  # uint8 [N, height, width, 3]
            if chunk.sequence == 5:
                switch = await session.prompt("a harbour at night", mode="recache")

Knows the wire (service.protocol); nothing of torch, web frameworks or the server's insides. Invariants: every wait
has a time-out and every queue a bound (ClientOptions); a session ends in exactly one way, which iteration tells: it
stops after `session.done` and raises in every other case.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Self, TypeVar

from client.chunk import LOSSLESS_FORMATS, Chunk
from client.connection import ClientOptions, Connection
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
from client.receiver import Receiver
from client.requests import Media, Prompt, PromptChange, interaction_message, prompt_text, start_message
from client.switch import InteractionMessage, PendingSwitches, Switch
from service.protocol import ClientMessage, ServerMessage, UnknownMessage
from service.protocol.client import (
    Pacing,
    PromptMode,
    SessionInteraction,
    SessionPing,
    SessionStop,
    SinkPolicy,
)
from service.protocol.server import ErrorMessage, SessionDone, SessionPong, SessionWarning, VideoStart

Notice = ErrorMessage | SessionWarning
T = TypeVar("T")


class SessionState(Enum):
    CONNECTED = "connected"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


@asynccontextmanager
async def connect(url: str, options: ClientOptions | None = None) -> AsyncIterator["Session"]:
    """Connect to a server: `ws://host:port`, `http://host:port`, with or without a path prefix or the endpoint.

    Raises:
        ConnectFailed: there is no such server, or it refused the connection.
    """
    options = options or ClientOptions()
    session = Session(await Connection.open(url, options), options)
    try:
        yield session
    finally:
        await session.close()


class Session:
    """One session on one connection; `connect` makes it. Iterate over it for its chunks, from one task."""

    def __init__(self, connection: Connection, options: ClientOptions) -> None:
        self.state = SessionState.CONNECTED
        self.done: SessionDone | None = None
        self.started_at: float | None = None  # time.monotonic() second at which session.start was sent
        self.notices: deque[Notice] = deque(maxlen=options.notices)
        self._connection = connection
        self._options = options
        self._receiver = Receiver()
        self._chunks: asyncio.Queue[Chunk | None] = asyncio.Queue(options.buffer_chunks)
        self._exhausted = False
        self._failure: ClientError | None = None
        self._over = asyncio.Event()
        self._starting: asyncio.Future[VideoStart] | None = None
        self._switches = PendingSwitches(options.pending_prompts)
        self._pongs: dict[str, asyncio.Future[float]] = {}
        self._prompts = self._pings = 0
        self._tasks = [asyncio.create_task(self._read(), name="longtake-client-reader")]

    @property
    def info(self) -> VideoStart:
        """What the server said about the video. Raises ClientStateError before `start` has returned."""
        if self._receiver.info is None:
            raise ClientStateError("expected a started session, but video.start has not come")
        return self._receiver.info

    @property
    def missing(self) -> int:
        """Chunks that were numbered but never came."""
        return self._receiver.missing

    @property
    def duplicated(self) -> int:
        """Chunks that came again; they are not handed out."""
        return self._receiver.duplicated

    # What can be asked

    async def start(
        self,
        prompt: Prompt,
        *,
        model: str = "demo",
        seed: int | None = None,
        media: Media | None = None,
        pacing: Pacing = "realtime",
        max_seconds: float | None = None,
    ) -> VideoStart:
        """Start the video; once per connection, again only if it was refused.

        Raises:
            RequestRefused, SessionFailed: the server did not start it. WaitTimeout, ConnectionLost: nor said why.
            ClientStateError: it was started. service.errors.ProtocolError: a value that no server would accept.
        """
        self._expect(SessionState.CONNECTED, "start")
        message = start_message(
            prompt, model=model, seed=seed, media=media or Media(), pacing=pacing, max_seconds=max_seconds
        )
        self.state = SessionState.STARTING
        self._starting = asyncio.get_running_loop().create_future()
        self.started_at = time.monotonic()
        await self._send(message)
        return await _within(self._starting, self._options.start_timeout, "video.start")

    async def prompt(
        self,
        prompt: Prompt,
        *,
        mode: PromptMode = "recache",
        sink: SinkPolicy = "keep",
        transition_chunks: int = 0,
        at: float | None = None,
        event_id: str | None = None,
    ) -> Switch:
        """Change the prompt: at the next block, or at the first one that begins at media second `at` or later.

        Returns as soon as it is sent; the Switch fills in as the server answers and the chunks come. The same
        `event_id` with the same content is a retry. Raises what `start` does, but for refusals: those are the
        Switch's to tell.
        """
        change = PromptChange(prompt, mode=mode, sink=sink, transition_chunks=transition_chunks, at=at)
        self._prompts += 1
        return await self.interact(interaction_message(change, event_id or f"prompt-{self._prompts}"))

    async def interact(self, message: SessionInteraction) -> Switch:
        """`prompt`, for a message that is made already."""
        self._expect(SessionState.RUNNING, "prompt")
        name = prompt_text(message.prompt or message.weighted_prompts)
        switch = self._switches.add(Switch(message.event_id, name, time.monotonic()))
        await self._send(message)
        return switch

    async def ping(self) -> float:
        """Seconds to the server and back."""
        self._pings += 1
        name, sent = f"ping-{self._pings}", time.monotonic()
        pong: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._pongs[name] = pong
        try:
            await self._send(SessionPing(id=name))
            return await _within(pong, self._options.message_timeout, "session.pong") - sent
        finally:
            self._pongs.pop(name, None)

    async def stop(self) -> None:
        """Ask the server to end the video; iteration then ends after the last chunk. Harmless once it has ended."""
        if self.state in (SessionState.STOPPING, SessionState.ENDED):
            return
        self._expect(SessionState.RUNNING, "stop")
        self.state = SessionState.STOPPING
        await self._send(SessionStop())

    async def finish(self) -> SessionDone:
        """Stop, throw away the chunks that are still coming, and return how the session ended."""
        await self.stop()
        async for _ in self:
            pass
        if self.done is None:
            raise SessionEnded("expected session.done, but the session was closed before it")
        return self.done

    async def close(self) -> None:
        """Close the connection, whatever the state; leaving `async with connect(...)` does it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.close()
        self._end(SessionEnded("the session was closed"))
        while not self._chunks.empty():
            self._chunks.get_nowait()
        self._chunks.put_nowait(None)

    # Chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk. Raises SessionFailed, ConnectionLost, WaitTimeout or ProtocolViolation if it ended badly."""
        if not self._exhausted:
            chunk = await self._chunks.get()
            if chunk is not None:
                return chunk
            self._exhausted = True
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    # The reader task

    async def _read(self) -> None:
        try:
            while self.done is None:
                await self._take(await self._connection.receive(self._patience()))
        except ClientError as error:
            self._failure = error
        except Exception as error:  # the task's boundary: whoever iterates must hear of it
            self._failure = ClientError(f"the client itself failed: {error!r}")
            self._failure.__cause__ = error
        self._end(self._failure or SessionEnded("the session has ended"))
        await self._chunks.put(None)

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
        self._switches.on_chunk(chunk.metadata, now)
        await self._chunks.put(chunk)

    def _handle(self, message: ServerMessage | UnknownMessage, now: float) -> None:
        if isinstance(message, InteractionMessage):
            self._switches.on_message(message, now)
        elif isinstance(message, VideoStart):
            self._on_start(message)
        elif isinstance(message, ErrorMessage):
            self._on_error(message)
        elif isinstance(message, SessionWarning):
            self.notices.append(message)
        elif isinstance(message, SessionPong):
            waiting = self._pongs.get(message.id or "")
            if waiting is not None and not waiting.done():
                waiting.set_result(now)
        elif isinstance(message, SessionDone):
            self.done = message

    def _on_start(self, message: VideoStart) -> None:
        if self.state is not SessionState.STARTING or self._starting is None:
            raise ProtocolViolation(f"expected no video.start in a session that is {self.state.value}")
        self.state = SessionState.RUNNING
        if message.limits.idle_timeout_s > 0:
            keeper = self._keep_alive(message.limits.idle_timeout_s / 3)
            self._tasks.append(asyncio.create_task(keeper, name="longtake-client-keep-alive"))
        if not self._starting.done():
            self._starting.set_result(message)

    def _on_error(self, message: ErrorMessage) -> None:
        if message.fatal:
            raise SessionFailed(message)
        self.notices.append(message)
        if self._switches.on_error(message) or self._starting is None or self._starting.done():
            return
        self.state = SessionState.CONNECTED
        self._starting.set_exception(RequestRefused.from_message(message))

    def _end(self, reason: ClientError) -> None:
        self.state = SessionState.ENDED
        self._switches.end(reason)
        for waiting in (*self._pongs.values(), self._starting):
            if waiting is not None and not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # asked for here, so that nothing is logged if nobody waits any more
        self._over.set()

    async def _keep_alive(self, interval: float) -> None:
        """Tell the server now and then that somebody is there."""
        with suppress(ConnectionLost, WaitTimeout):
            while not self._over.is_set():
                await asyncio.sleep(interval)
                await self._connection.send(SessionPing())

    # Sending and waiting

    def _expect(self, state: SessionState, call: str) -> None:
        if self._failure is not None:
            raise self._failure
        if self.state is not state:
            raise ClientStateError(f"{call}: expected a session that is {state.value}, it is {self.state.value}")

    async def _send(self, message: ClientMessage) -> None:
        try:
            await self._connection.send(message)
        except ConnectionLost:
            # The reader comes to the same end, and may read on its way why.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.close_timeout):
                    await self._over.wait()
            if self._failure is not None:
                raise self._failure from None
            raise


async def _within(waiting: asyncio.Future[T], seconds: float, what: str) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except TimeoutError as error:
        raise WaitTimeout(f"expected {what} within {seconds:g} s") from error
