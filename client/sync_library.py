"""The client of a server for programs without asyncio: the calls of `client.library`, which block.

    with Client("http://127.0.0.1:8000") as client:
        with client.session("a lighthouse at dusk", seconds=60) as take:
            for frame in take:
                show(frame.numpy())
        video = client.videos.create_and_wait("a lighthouse at dusk", seconds=8)

An event loop of its own runs in a thread of its own, which ends with the context. Invariants: what a call takes and
raises is the asyncio client's, whose method it is; a frame is handed over when it is asked for, so that what waits is
bounded.
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, contextmanager
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from client import library, take, videos
from client.connection import ClientOptions
from client.loop_thread import LoopThread
from client.sync import SyncSession
from client.take import Frame
from service.protocol.server import SessionDone, VideoStart

Inner = TypeVar("Inner")
Result = TypeVar("Result")
Words = ParamSpec("Words")


class _Face(Generic[Inner]):
    """Something of the asyncio client, and the loop in which its calls run."""

    def __init__(self, inner: Inner, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop


def _blocking(
    call: Callable[Concatenate[Inner, Words], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[_Face[Inner], Words], Result]:
    """The same call, which returns when it is done."""

    @wraps(call)
    def blocking(face: _Face[Inner], /, *args: Words.args, **named: Words.kwargs) -> Result:
        return face._loop.run(call(face._inner, *args, **named))

    return blocking


def _telling(
    call: Callable[Concatenate[Inner, Words], Coroutine[Any, Any, object]],
) -> Callable[Concatenate[_Face[Inner], Words], None]:
    """The same call, which returns when it is sent; `session.prompt` gives the Switch."""
    blocking = _blocking(call)

    @wraps(call)
    def telling(face: _Face[Inner], /, *args: Words.args, **named: Words.kwargs) -> None:
        blocking(face, *args, **named)

    return telling


def _beginning(
    call: Callable[Concatenate[Inner, Words], AbstractAsyncContextManager[take.Take]],
) -> Callable[Concatenate[_Face[Inner], Words], AbstractContextManager["Take"]]:
    """The same context, whose take's calls block."""

    @wraps(call)
    @contextmanager
    def beginning(face: _Face[Inner], /, *args: Words.args, **named: Words.kwargs) -> Iterator["Take"]:
        stack, loop = AsyncExitStack(), face._loop
        try:
            yield Take(loop.run(stack.enter_async_context(call(face._inner, *args, **named))), loop)
        finally:
            loop.run(stack.aclose())

    return beginning


class Client(_Face[library.Client]):
    """A server by its address; use it as a context manager, from one thread. See client.library.Client."""

    def __init__(
        self, url: str = library.LOCAL, *, api_key: str | None = None, options: ClientOptions | None = None
    ) -> None:
        super().__init__(library.Client(url, api_key, options), LoopThread())
        self.videos = Videos(self._inner.videos, self._loop)

    session = _beginning(library.Client.session)
    go_on = _beginning(library.Client.go_on)
    watch = _beginning(library.Client.watch)
    suggested_prompts = _blocking(library.Client.suggested_prompts)

    def close(self) -> None:
        self._loop.close(_nothing())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Take(_Face[take.Take]):
    """A take whose calls block; `Client.session` and its like make it. See client.take.Take."""

    def __init__(self, inner: take.Take, loop: LoopThread) -> None:
        super().__init__(inner, loop)
        self.session = SyncSession(inner.session, loop)

    @property
    def info(self) -> VideoStart:
        return self._inner.info

    @property
    def id(self) -> str:
        return self._inner.id

    @property
    def done(self) -> SessionDone | None:
        return self._inner.done

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        frame = self._loop.run(_next(self._inner))
        if frame is None:
            raise StopIteration
        return frame

    prompt = _telling(take.Take.prompt)
    blend = _telling(take.Take.blend)
    cut = _telling(take.Take.cut)
    pause = _blocking(take.Take.pause)
    resume = _blocking(take.Take.resume)
    rewind = _blocking(take.Take.rewind)
    fork = _beginning(take.Take.fork)
    leave = _blocking(take.Take.leave)
    stop = _blocking(take.Take.stop)


class Videos(_Face[videos.Videos]):
    """client.videos.Videos with calls that block."""

    create = _blocking(videos.Videos.create)
    create_and_wait = _blocking(videos.Videos.create_and_wait)
    wait = _blocking(videos.Videos.wait)
    get = _blocking(videos.Videos.get)
    list = _blocking(videos.Videos.list)
    download = _blocking(videos.Videos.download)
    remix = _blocking(videos.Videos.remix)
    cancel = _blocking(videos.Videos.cancel)
    delete = _blocking(videos.Videos.delete)


async def _next(inner: take.Take) -> Frame | None:
    return await anext(inner, None)


async def _nothing() -> None:
    """There is nothing to do before the thread ends."""
