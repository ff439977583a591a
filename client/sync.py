"""The client for programs without asyncio: the same session, with calls that return when it is done.

    with connect("ws://127.0.0.1:8000") as session:
        session.start("a lighthouse at dusk", max_seconds=60)
        for chunk in session:
            frames = chunk.numpy()

An event loop of its own runs in a thread of its own. Knows client.client only. Invariants: a chunk is handed over
when it is asked for, so what waits is bounded as in the asyncio client; when the context is left, the connection is
closed and the thread has ended.
"""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Self

from client.chunk import Chunk
from client.client import Session
from client.client import connect as connect_session
from client.comeback import ResumeTicket
from client.connection import ClientOptions
from client.loop_thread import LoopThread
from client.notices import Notice, NoticeHandler
from client.receiving import SessionState
from client.requests import Adapter, Delivery, Media, Model, Place, Prompt
from client.switch import Switch
from service.protocol.client import DirectAction, Pacing, PromptMode, SinkPolicy, SlowConsumer
from service.protocol.server import (
    Role,
    SessionCheckpointed,
    SessionControlApplied,
    SessionDone,
    SessionForked,
    SessionQueued,
    SessionStats,
    VideoStart,
)


@contextmanager
def connect(
    url: str, options: ClientOptions | None = None, *, on_notice: NoticeHandler | None = None
) -> Iterator["SyncSession"]:
    """Connect to a server, as client.client.connect does. `on_notice` is called in the loop's thread."""
    loop = LoopThread()
    stack = AsyncExitStack()
    try:
        session = loop.run(stack.enter_async_context(connect_session(url, options, on_notice=on_notice)))
        yield SyncSession(session, loop)
    finally:
        loop.close(stack.aclose())


class SyncSession:
    """A session whose calls block; `connect` makes it. Use it from one thread; calls raise what Session's raise."""

    def __init__(self, session: Session, loop: LoopThread) -> None:
        self._session = session
        self._loop = loop

    # What is known

    @property
    def info(self) -> VideoStart:
        return self._session.info

    @property
    def state(self) -> SessionState:
        return self._session.state

    @property
    def done(self) -> SessionDone | None:
        return self._session.done

    @property
    def role(self) -> Role:
        return self._session.role

    @property
    def ticket(self) -> ResumeTicket | None:
        return self._session.ticket

    @property
    def missing(self) -> int:
        return self._session.missing

    @property
    def duplicated(self) -> int:
        return self._session.duplicated

    @property
    def queued(self) -> SessionQueued | None:
        """Where the session waits for a place; None when it does not."""
        return self._session.notices.queued

    @property
    def stats(self) -> SessionStats | None:
        """What the server said last of how it goes."""
        return self._session.notices.stats

    def notices(self) -> tuple[Notice, ...]:
        """What the server said beside the video, the newest last."""
        return self._loop.run(self._kept_notices())

    async def _kept_notices(self) -> tuple[Notice, ...]:
        return tuple(self._session.notices.kept)

    # What can be asked

    def start(
        self,
        prompt: Prompt,
        *,
        model: str | Model = "demo",
        seed: int | None = None,
        media: Media | None = None,
        pacing: Pacing = "realtime",
        max_seconds: float | None = None,
        delivery: Delivery | None = None,
    ) -> VideoStart:
        return self._loop.run(
            self._session.start(
                prompt,
                model=model,
                seed=seed,
                media=media,
                pacing=pacing,
                max_seconds=max_seconds,
                delivery=delivery,
            )
        )

    def attach(self, ticket: ResumeTicket, *, paced: bool = True, slow_consumer: SlowConsumer = "pause") -> VideoStart:
        return self._loop.run(self._session.attach(ticket, paced=paced, slow_consumer=slow_consumer))

    def join(self, session_id: str, *, slow_consumer: SlowConsumer = "drop") -> VideoStart:
        return self._loop.run(self._session.join(session_id, slow_consumer=slow_consumer))

    def prompt(
        self,
        prompt: Prompt,
        *,
        mode: PromptMode = "recache",
        sink: SinkPolicy = "keep",
        transition_chunks: int = 0,
        at: float | None = None,
        adapters: Sequence[Adapter] | None = None,
        event_id: str | None = None,
    ) -> Switch:
        """Returns when it is sent; read the Switch's times, or wait with `wait_queued` and `wait_received`."""
        return self._loop.run(
            self._session.prompt(
                prompt,
                mode=mode,
                sink=sink,
                transition_chunks=transition_chunks,
                at=at,
                adapters=adapters,
                event_id=event_id,
            )
        )

    def wait_queued(self, switch: Switch, timeout: float = 30.0) -> None:
        return self._loop.run(switch.wait_queued(timeout))

    def wait_received(self, switch: Switch, timeout: float = 60.0) -> int:
        """The number of its first chunk. What comes before it waits in the buffer, so it must fit in there."""
        return self._loop.run(switch.wait_received(timeout))

    def pause(self) -> SessionControlApplied:
        return self._loop.run(self._session.pause())

    def resume(self) -> SessionControlApplied:
        return self._loop.run(self._session.resume())

    def rewind(self, place: Place) -> SessionControlApplied:
        return self._loop.run(self._session.rewind(place))

    def seek_live(self) -> SessionControlApplied:
        return self._loop.run(self._session.seek_live())

    def fork(self, place: Place | None = None) -> SessionForked:
        return self._loop.run(self._session.fork(place))

    def checkpoint(self, name: str) -> SessionCheckpointed:
        return self._loop.run(self._session.checkpoint(name))

    def direct(self, action: DirectAction) -> None:
        return self._loop.run(self._session.direct(action))

    def set_quality(self, quality: int) -> SessionControlApplied:
        return self._loop.run(self._session.set_quality(quality))

    def report_playback(
        self, position_seconds: float, *, buffered_seconds: float | None = None, dropped: int | None = None
    ) -> None:
        return self._loop.run(
            self._session.report_playback(position_seconds, buffered_seconds=buffered_seconds, dropped=dropped)
        )

    def ping(self) -> float:
        return self._loop.run(self._session.ping())

    def leave(self) -> ResumeTicket | None:
        return self._loop.run(self._session.leave())

    def stop(self) -> None:
        return self._loop.run(self._session.stop())

    def finish(self) -> SessionDone:
        return self._loop.run(self._session.finish())

    # Chunks

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        chunk = self._loop.run(self._next())
        if chunk is None:
            raise StopIteration
        return chunk

    async def _next(self) -> Chunk | None:
        return await anext(self._session, None)
