"""The client of a server, for programs: takes that are directed live, and videos that are made as jobs.

    async with Client("http://127.0.0.1:8000") as client:
        async with client.session("a lighthouse at dusk", seconds=60) as take:
            async for frame in take:
                show(frame.numpy())
        video = await client.videos.create_and_wait("a lighthouse at dusk", seconds=8)
        await client.videos.download(video.id, out=Path("lighthouse.mp4"))

Knows the parts and nothing of how they work; `client.sync_library` is the same for programs without asyncio. Invariant:
a take that was begun here is over, or left on purpose, when its context is left.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from client.catalogue import suggested_prompts
from client.client import connect
from client.comeback import ResumeTicket
from client.connection import ClientOptions
from client.http import Server
from client.requests import Delivery, Media, Model, Prompt
from client.sessions import ask_for_ticket
from client.take import Take
from client.videos import Videos
from service.protocol.client import Pacing

LOCAL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Client:
    """A server by its address: `http://host:port`, `ws://host:port`, with or without a path prefix.

    Holds no connection of its own: each take has one, and each request another.

    Args:
        api_key: where the server asks for one.
        options: every bound and time-out.
    """

    url: str = LOCAL
    api_key: str | None = None
    options: ClientOptions | None = None

    @property
    def server(self) -> Server:
        """The same server over HTTP."""
        return Server(self.url, self.connection.api_key, self.connection.message_timeout)

    @property
    def connection(self) -> ClientOptions:
        options = self.options or ClientOptions()
        return options if self.api_key is None else replace(options, api_key=self.api_key)

    @property
    def videos(self) -> Videos:
        return Videos(self.server)

    @asynccontextmanager
    async def session(
        self,
        prompt: Prompt,
        *,
        seconds: float | None = None,
        model: str | Model = "demo",
        seed: int | None = None,
        media: Media | None = None,
        pacing: Pacing = "realtime",
        delivery: Delivery | None = None,
    ) -> AsyncIterator[Take]:
        """Begin a take, which is stopped when the context is left. It waits where there is no place yet.

        Args:
            seconds: length of the video; by default it goes on until it is stopped, or as long as the server lets it.
            media: size, format and quality of the frames, and a picture to begin with.
            pacing: `realtime` for who watches; `none` for who wants all frames as soon as they can be had.
            delivery: what happens where this program is slow, and how far ahead of it the video may be made.

        Raises:
            ConnectFailed: there is no such server. RequestRefused, SessionFailed: it does not begin the take.
        """
        async with connect(self.url, self.connection) as session:
            await session.start(
                prompt,
                model=model,
                seed=seed,
                media=media,
                pacing=pacing,
                max_seconds=seconds,
                delivery=delivery,
            )
            yield Take(self.url, session, options=self.connection)

    @asynccontextmanager
    async def go_on(self, session: str | ResumeTicket, *, paced: bool = True) -> AsyncIterator[Take]:
        """Go on with a take that has ended (by its id) or was left (by its ticket). Raises what `session` does."""
        ticket = await ask_for_ticket(self.server, session) if isinstance(session, str) else session
        async with connect(self.url, self.connection) as opened:
            await opened.attach(ticket, paced=paced)
            yield Take(self.url, opened, options=self.connection)

    @asynccontextmanager
    async def watch(self, session: str) -> AsyncIterator[Take]:
        """Look on while somebody else directs. Raises what `session` does."""
        async with connect(self.url, self.connection) as opened:
            await opened.join(session)
            yield Take(self.url, opened, options=self.connection)

    async def suggested_prompts(self) -> tuple[str, ...]:
        """What the makers of the server's model suggest. Raises ConnectFailed, ProtocolViolation."""
        return await suggested_prompts(self.server)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to close; the form is there for who is used to it."""
        del kind, error, trace
