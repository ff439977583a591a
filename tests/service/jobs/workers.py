"""Workers without an engine for jobs: pictures are a function of seed, block and prompt, fragments are real.

They know the messages only. Invariant: as in the real worker, a block is made only under a credit, under the newest
prompt that is due when it begins, and a session that goes on behind a course makes what it would have made.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from service import ipc
from service.api.worker_link import Listener
from service.errors import CapacityError, ErrorCode
from service.media import encode_fragment, init_segment
from tests.service.fakes import FACTS

SIZE = 32
SMALL = msgspec.structs.replace(FACTS, width=SIZE, height=SIZE)


@dataclass(slots=True)
class Made:
    """One session in the engine."""

    start: ipc.Start
    listener: Listener
    credits: int
    block: int = 0
    frames: int = 0
    prompt: str = ""
    told: list[str] = field(default_factory=list)
    waiting: list[ipc.Interact] = field(default_factory=list)


def nothing(_session: str, _block: int) -> None:
    """What happens before a block, usually."""


@dataclass(slots=True)
class FakeWorkers:
    """`before_block(session, block)` may call `lose` or raise what it likes."""

    room: int = 1
    facts: ipc.Facts | None = SMALL
    before_block: Callable[[str, int], None] = nothing
    sessions: dict[str, Made] = field(default_factory=dict)
    made: list[tuple[str, int]] = field(default_factory=list)
    """Session and block of all that left."""
    opened: list[ipc.Start] = field(default_factory=list)
    most: int = 0
    """Sessions at once."""
    losses: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def background_room(self) -> int:
        return self.room - len(self.sessions) if self.facts is not None else 0

    async def open_background(self, start: ipc.Start, listener: Listener) -> None:
        if self.background_room <= 0 or start.session in self.sessions:
            raise CapacityError("no room")
        assert start.background
        assert start.seed is not None
        self.opened.append(start)
        if start.prompts[0].text.startswith("refuse"):
            listener.deliver(ipc.Failed(session=start.session, code=ErrorCode.PROMPT_INVALID, message="no"))
            return
        made = Made(start, listener, start.credits, prompt=_text(start.prompts))
        if start.course is not None:
            self._go_on(made, start.course)
        else:
            made.told.append(json.dumps(_event(0, made.prompt, "")))
        self.sessions[start.session] = made
        self.most = max(self.most, len(self.sessions))
        init = init_segment(width=SIZE, height=SIZE, fps=SMALL.fps)
        listener.deliver(
            ipc.Started(
                session=start.session,
                seed=start.seed,
                model="demo",
                width=SIZE,
                height=SIZE,
                fps=SMALL.fps,
                block_frames=3,
                frames_per_block=SMALL.frames_per_block,
                first_block_frames=SMALL.frames_per_block,
                codec=init.codec,
                init=init.data,
            )
        )
        self._news.set()

    def _go_on(self, made: Made, course: ipc.Course) -> None:
        made.block = len(course.blocks)
        made.frames = sum(block.frames for block in course.blocks)
        made.prompt = json.loads(course.journal)["events"][-1]["prompts"][0]["text"]

    async def send(self, command: ipc.Interact | ipc.Credit | ipc.Stop) -> None:
        made = self.sessions.get(command.session)
        if made is None:
            return
        match command:
            case ipc.Interact():
                assert len(made.waiting) < 16, "the engine lets so many wait"
                made.waiting.append(command)
            case ipc.Credit():
                made.credits += command.chunks
            case ipc.Stop():
                self._end(made, "stopped")
        self._news.set()

    async def release(self, session: str) -> None:
        self.sessions.pop(session, None)

    def lose(self, reason: str = "it was killed") -> None:
        """Every session hears it, and is gone."""
        self.losses += 1
        gone, self.sessions = list(self.sessions.values()), {}
        for made in gone:
            made.listener.worker_lost(reason)

    async def run(self) -> None:
        """Makes a block of each session that may have one, again and again."""
        while True:
            self._news.clear()
            for made in list(self.sessions.values()):
                if made.credits > 0:
                    self._make(made)
            if not any(made.credits > 0 for made in self.sessions.values()):
                await self._news.wait()
            await asyncio.sleep(0)

    def _make(self, made: Made) -> None:
        session = made.start.session
        self.before_block(session, made.block)
        if session not in self.sessions:
            return
        due = [given for given in made.waiting if (given.at or 0.0) <= made.frames / SMALL.fps]
        made.waiting = [given for given in made.waiting if given not in due]
        for given in due[-1:]:
            made.prompt = _text(given.prompts)
            made.told.append(json.dumps(_event(made.block, made.prompt, given.event_id)))
        made.credits -= 1
        made.listener.deliver(_chunk(made, started=tuple(given.event_id for given in due[-1:])))
        made.told.clear()
        self.made.append((session, made.block))
        made.block += 1
        made.frames += SMALL.frames_per_block
        limit = made.start.max_seconds
        if limit is not None and made.frames / SMALL.fps >= limit:
            self._end(made, "completed")

    def _end(self, made: Made, reason: ipc.EndReason) -> None:
        session = made.start.session
        if self.sessions.pop(session, None) is not None:
            made.listener.deliver(
                ipc.Ended(session=session, reason=reason, chunks=made.block, frames=made.frames, journal="{}")
            )


def pictures(seed: int, block: int, prompt: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """A block's frames: one colour each."""
    key = hashlib.sha256(f"{seed}/{block}/{prompt}".encode()).digest()
    colours = np.frombuffer(key * 2, np.uint8)[: 3 * SMALL.frames_per_block].reshape(-1, 1, 1, 3)
    return np.broadcast_to(colours, (SMALL.frames_per_block, SIZE, SIZE, 3)).copy()


def digest_of(seed: int, block: int, prompt: str) -> str:
    return hashlib.sha256(pictures(seed, block, prompt).tobytes()).hexdigest()


def _chunk(made: Made, *, started: tuple[str, ...]) -> ipc.Chunk:
    assert made.start.seed is not None
    frames = pictures(made.start.seed, made.block, made.prompt)
    sizes, payload = encode_fragment(frames, first=made.frames, fps=SMALL.fps, quality=85, number=made.block)
    spans, offset = [], 0
    for number, size in enumerate(sizes):
        spans.append(ipc.FrameSpan(offset, size, (made.frames + number) / SMALL.fps))
        offset += size
    return ipc.Chunk(
        session=made.start.session,
        sequence=made.block,
        take=0,
        block=made.block,
        attempt=0,
        pts=made.frames / SMALL.fps,
        fps=SMALL.fps,
        format="m4s",
        frames=tuple(spans),
        frames_sha256=hashlib.sha256(frames.tobytes()).hexdigest(),
        started_event_ids=started,
        events=tuple(made.told),
        timings=ipc.StageMilliseconds(denoise=100.0),
        payload=payload,
    )


def _text(prompts: tuple[ipc.Prompt, ...]) -> str:
    return prompts[0].text


def _event(block: int, text: str, event_id: str) -> dict[str, object]:
    return {
        "type": "prompt",
        "block": block,
        "prompts": [{"text": text, "weight": 1.0}],
        "mode": "recache",
        "sink": "keep",
        "transition_chunks": 0,
        "event_id": event_id,
    }
