"""The client of a server for programs without asyncio: the calls of `client.library`, which block.

    with Client("http://127.0.0.1:8000") as client:
        with client.session("a lighthouse at dusk", seconds=60) as take:
            for frame in take:
                show(frame.numpy())
        video = client.videos.create_and_wait("a lighthouse at dusk", seconds=8)

An event loop of its own runs in a thread of its own, which ends with the context. Invariant: a frame is handed over
when it is asked for, so what waits is bounded as in the asyncio client.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from client.comeback import ResumeTicket
from client.connection import ClientOptions
from client.library import LOCAL
from client.library import Client as AsyncClient
from client.loop_thread import LoopThread
from client.requests import Delivery, Media, Model, Prompt, PromptChange
from client.sync import SyncSession
from client.take import Frame
from client.take import Take as AsyncTake
from client.video_values import Variant, Video, VideoOptions
from service.protocol.client import Pacing, PromptMode, SinkPolicy
from service.protocol.server import SessionDone, VideoStart


class Client:
    """A server by its address; use it as a context manager, from one thread. See client.library.Client."""

    def __init__(self, url: str = LOCAL, *, api_key: str | None = None, options: ClientOptions | None = None) -> None:
        self._client = AsyncClient(url, api_key, options)
        self._loop = LoopThread()
        self.videos = Videos(self._client, self._loop)

    @contextmanager
    def session(
        self,
        prompt: Prompt,
        *,
        seconds: float | None = None,
        model: str | Model = "demo",
        seed: int | None = None,
        media: Media | None = None,
        pacing: Pacing = "realtime",
        delivery: Delivery | None = None,
    ) -> Iterator["Take"]:
        """Begin a take; see client.library.Client.session."""
        begun = self._client.session(
            prompt, seconds=seconds, model=model, seed=seed, media=media, pacing=pacing, delivery=delivery
        )
        with _entered(begun, self._loop) as take:
            yield take

    @contextmanager
    def go_on(self, session: str | ResumeTicket, *, paced: bool = True) -> Iterator["Take"]:
        with _entered(self._client.go_on(session, paced=paced), self._loop) as take:
            yield take

    @contextmanager
    def watch(self, session: str) -> Iterator["Take"]:
        with _entered(self._client.watch(session), self._loop) as take:
            yield take

    def suggested_prompts(self) -> tuple[str, ...]:
        return self._loop.run(self._client.suggested_prompts())

    def close(self) -> None:
        self._loop.close(_nothing())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Take:
    """A take whose calls block; `Client.session` and its like make it. See client.take.Take."""

    def __init__(self, take: AsyncTake, loop: LoopThread) -> None:
        self._take = take
        self._loop = loop
        self.session = SyncSession(take.session, loop)

    @property
    def info(self) -> VideoStart:
        return self._take.info

    @property
    def id(self) -> str:
        return self._take.id

    @property
    def done(self) -> SessionDone | None:
        return self._take.done

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        frame = self._loop.run(_next(self._take))
        if frame is None:
            raise StopIteration
        return frame

    def prompt(
        self,
        prompt: Prompt,
        *,
        mode: PromptMode = "recache",
        sink: SinkPolicy = "keep",
        transition: int = 0,
        at: float | None = None,
    ) -> None:
        """Returns when it is sent; `session.prompt` gives the Switch."""
        self._loop.run(self._take.prompt(prompt, mode=mode, sink=sink, transition=transition, at=at))

    def blend(
        self,
        prompts: Mapping[str, float],
        *,
        mode: PromptMode = "recache",
        transition: int = 0,
        at: float | None = None,
    ) -> None:
        self._loop.run(self._take.blend(prompts, mode=mode, transition=transition, at=at))

    def cut(self, prompt: Prompt) -> None:
        self._loop.run(self._take.cut(prompt))

    def pause(self) -> None:
        self._loop.run(self._take.pause())

    def resume(self) -> None:
        self._loop.run(self._take.resume())

    def rewind(self, seconds: float, *, same_noise: bool = False) -> None:
        self._loop.run(self._take.rewind(seconds, same_noise=same_noise))

    @contextmanager
    def fork(self, seconds: float | None = None, *, same_noise: bool = False) -> Iterator["Take"]:
        with _entered(self._take.fork(seconds, same_noise=same_noise), self._loop) as take:
            yield take

    def leave(self) -> ResumeTicket | None:
        return self._loop.run(self._take.leave())

    def stop(self) -> None:
        self._loop.run(self._take.stop())


class Videos:
    """client.videos.Videos with calls that block."""

    def __init__(self, client: AsyncClient, loop: LoopThread) -> None:
        self._videos = client.videos
        self._loop = loop

    def create(
        self,
        prompt: Prompt,
        *,
        seconds: float = 4.0,
        changes: Sequence[PromptChange] = (),
        options: VideoOptions | None = None,
    ) -> Video:
        return self._loop.run(self._videos.create(prompt, seconds=seconds, changes=changes, options=options))

    def create_and_wait(
        self,
        prompt: Prompt,
        *,
        seconds: float = 4.0,
        changes: Sequence[PromptChange] = (),
        options: VideoOptions | None = None,
        timeout: float | None = None,
        progress: bool = True,
    ) -> Video:
        made = self.create(prompt, seconds=seconds, changes=changes, options=options)
        return self.wait(made.id, timeout=timeout, progress=progress)

    def wait(self, video: str, *, timeout: float | None = None, progress: bool = True) -> Video:
        return self._loop.run(self._videos.wait(video, timeout=timeout, progress=progress))

    def get(self, video: str) -> Video:
        return self._loop.run(self._videos.get(video))

    def list(self, *, most: int = 100, newest_first: bool = True) -> list[Video]:
        return self._loop.run(self._videos.list(most=most, newest_first=newest_first))

    def download(self, video: str, *, out: Path, variant: Variant = "video", progress: bool = False) -> Path:
        return self._loop.run(self._videos.download(video, out=out, variant=variant, progress=progress))

    def remix(self, video: str, prompt: Prompt) -> Video:
        return self._loop.run(self._videos.remix(video, prompt))

    def cancel(self, video: str) -> Video:
        return self._loop.run(self._videos.cancel(video))

    def delete(self, video: str) -> None:
        self._loop.run(self._videos.delete(video))


@contextmanager
def _entered(begun: AbstractAsyncContextManager[AsyncTake], loop: LoopThread) -> Iterator[Take]:
    stack = AsyncExitStack()
    try:
        yield Take(loop.run(stack.enter_async_context(begun)), loop)
    finally:
        loop.run(stack.aclose())


async def _next(take: AsyncTake) -> Frame | None:
    return await anext(take, None)


async def _nothing() -> None:
    """There is nothing to do before the thread ends."""
