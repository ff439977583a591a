"""A take as a program directs it: frames to iterate over, and one verb for each thing that can be asked.

    async with client.session("a lighthouse at dusk", seconds=60) as take:
        async for frame in take:
            show(frame.numpy())                     # uint8 [height, width, 3]
            if frame.number == 100:
                await take.prompt("a harbour at night")

Knows sessions and their chunks (client.client); nothing of sockets. Invariant: a frame that the server took back before
it was handed out is not handed out; apart from that, every frame that came comes once, in order.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from client.chunk import Chunk
from client.client import Session, connect
from client.comeback import ResumeTicket, fork_ticket
from client.connection import ClientOptions
from client.notices import ChunksDiscarded
from client.requests import Place, Prompt
from client.switch import Switch
from service.protocol.client import PromptMode, SinkPolicy, WeightedPrompt
from service.protocol.server import SessionDone, VideoStart


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame. `number` counts those that were handed out, from 0; `pts` is its second of the video.

    `data` is the frame as it was encoded; in format `m4s` it is a part of its chunk's fragment.
    """

    number: int
    pts: float
    chunk: Chunk = field(repr=False)
    index: int
    """In its chunk."""

    @property
    def data(self) -> bytes:
        part = self.chunk.metadata.frames[self.index]
        return self.chunk.payload[part.offset : part.offset + part.length]

    def numpy(self) -> npt.NDArray[np.uint8]:
        """RGB pixels, uint8 [height, width, 3]; do not write to them. The chunk is decoded at the first call.

        Raises:
            ProtocolViolation: it cannot be decoded.
        """
        pixels: npt.NDArray[np.uint8] = self.chunk.numpy()[self.index]
        return pixels

    @property
    def started(self) -> tuple[str, ...]:
        """The ids of the prompts whose first frame this is."""
        return self.chunk.metadata.started_event_ids if self.index == 0 else ()


def blend_of(prompts: Mapping[str, float]) -> tuple[WeightedPrompt, ...]:
    """Prompts and their weights, as the protocol has them."""
    return tuple(WeightedPrompt(text=text, weight=weight) for text, weight in prompts.items())


class Take:
    """A session that runs; `Client.session` and its like make it. Iterate over it for frames, from one task.

    The calls are those of `session` (client.client.Session), which has all else that can be known or asked: what the
    server says beside the video, statistics, quality, checkpoints, who directs.
    """

    def __init__(self, url: str, session: Session, *, options: ClientOptions) -> None:
        self.session = session
        self._url = url
        self._options = options
        self._chunk: Chunk | None = None
        self._index = 0
        self._frames = 0

    @property
    def info(self) -> VideoStart:
        """Size, rate and limits."""
        return self.session.info

    @property
    def id(self) -> str:
        return self.session.info.session_id

    @property
    def done(self) -> SessionDone | None:
        """The last word of a take that ended as it should; None until then."""
        return self.session.done

    # Frames

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        while self._chunk is None or self._index >= self._chunk.num_frames or self._taken_back(self._chunk):
            self._chunk, self._index = await anext(self.session), 0
        index = self._index
        self._index += 1
        self._frames += 1
        return Frame(self._frames - 1, self._chunk.metadata.frames[index].pts, self._chunk, index)

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Whole blocks instead of single frames; what is left of one that was begun is passed over."""
        self._chunk = None
        async for chunk in self.session:
            yield chunk

    def _taken_back(self, chunk: Chunk) -> bool:
        kept = self.session.notices.kept
        return any(isinstance(notice, ChunksDiscarded) and chunk.sequence in notice.taken for notice in kept)

    # What can be asked

    async def prompt(
        self,
        prompt: Prompt,
        *,
        mode: PromptMode = "recache",
        sink: SinkPolicy = "keep",
        transition: int = 0,
        at: float | None = None,
    ) -> Switch:
        """Change the prompt: at the next block, or at the first that begins at media second `at` or later.

        `transition`: blocks over which it fades in. Returns when it is sent; the Switch tells what becomes of it.
        """
        return await self.session.prompt(prompt, mode=mode, sink=sink, transition_chunks=transition, at=at)

    async def blend(
        self,
        prompts: Mapping[str, float],
        *,
        mode: PromptMode = "recache",
        sink: SinkPolicy = "keep",
        transition: int = 0,
        at: float | None = None,
    ) -> Switch:
        """As `prompt`, to a mixture: prompts with their weights, of which only the ratio counts."""
        return await self.prompt(blend_of(prompts), mode=mode, sink=sink, transition=transition, at=at)

    async def cut(self, prompt: Prompt) -> Switch:
        """Begin a new scene with the next block."""
        return await self.prompt(prompt, mode="cut")

    async def pause(self) -> None:
        """Halt; what nobody has seen is made again, the same, on `resume`."""
        await self.session.pause()

    async def resume(self) -> None:
        await self.session.resume()

    async def rewind(self, seconds: float, *, same_noise: bool = False) -> None:
        """Go back to the block that is on screen at this second of the video, and make it anew from there."""
        await self.session.rewind(Place(seconds=seconds, same_noise=same_noise))

    @asynccontextmanager
    async def fork(self, seconds: float | None = None, *, same_noise: bool = False) -> AsyncIterator["Take"]:
        """Another take with the history of this one before a second, by default its end; this one goes on."""
        ticket = fork_ticket(await self.session.fork(Place(seconds=seconds, same_noise=same_noise)))
        async with connect(self._url, self._options) as session:
            await session.attach(ticket, paced=self.session.paced)
            yield Take(self._url, session, options=self._options)

    async def leave(self) -> ResumeTicket | None:
        """Let the take live without this program: `Client.go_on` goes on with the ticket, for a while."""
        return await self.session.leave()

    async def stop(self) -> None:
        """End it; iteration ends after the last frame that was made."""
        await self.session.stop()
