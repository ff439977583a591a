"""Sessions that are watched whole while servers, workers and connections come and go, for commands that disturb them.

It knows the client library; nothing of processes. Invariants: what a viewer would have seen is kept by block, with what
was taken back taken out; blocks are contiguous; the same session undisturbed is what it is held against.
"""

import asyncio
from dataclasses import dataclass, field, replace

from client.chunk import Chunk
from client.client import Session, connect
from client.connection import ClientOptions
from client.requests import Media
from client.switch import Switch
from service.protocol.client import PromptMode
from tests.bench.deployment import HANG

OPTIONS = ClientOptions(
    reconnect_delay=0.1,
    reconnect_delay_max=1.0,
    open_timeout=60.0,
    start_timeout=HANG,
    message_timeout=60.0,
    buffer_chunks=64,
    notices=10_000,
)


FEW = replace(OPTIONS, buffer_chunks=2)
"""Of a session that is made as fast as it is taken: so little is made before all of its prompts are there."""
SCHEDULE: tuple[tuple[float, PromptMode], ...] = (
    (4.5, "flush"),
    (9.0, "recache"),
    (12.0, "cut"),
    (13.5, "flush"),
    (18.0, "keep"),
    (24.0, "recache"),
    (30.0, "flush"),
    (37.5, "cut"),
    (45.0, "recache"),
    (60.0, "keep"),
    (75.0, "recache"),
)
"""Seconds of the video and ways of changing it: prompts that are given at the start and wait for their block."""


@dataclass(slots=True)
class Watched:
    """One session, as it came. `video` is the hash of every block as it stands."""

    seed: int
    session_id: str = ""
    video: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    lost: int = 0
    missing: int = 0
    duplicated: int = 0
    worker_restarts: int = 0
    gaps: int = 0
    """Chunks whose block does not follow what came before."""
    done: str = ""
    seconds: float = 0.0
    """Of the video, at which the newest block begins."""
    begins: dict[int, float] = field(default_factory=dict)
    """Seconds of the video at which chunks begin."""
    session: Session | None = None
    schedule: tuple[tuple[float, PromptMode], ...] = ()
    switches: list[Switch] = field(default_factory=list)

    @property
    def prompts_lost(self) -> int:
        """Whose block has come, and that were not told to have taken effect."""
        due = [switch for (at, _), switch in zip(self.schedule, self.switches, strict=False) if at <= self.seconds]
        return sum(switch.applied_at is None for switch in due)

    def take(self, chunk: Chunk) -> None:
        block, sequence = chunk.metadata.block, chunk.sequence
        if block > len(self.video) or (self.numbers and sequence <= self.numbers[-1]):
            self.gaps += 1
        del self.video[block:]
        self.video.append(chunk.frames_sha256)
        self.numbers.append(sequence)
        self.seconds = self.begins[sequence] = chunk.metadata.pts
        self.came.set()

    @property
    def given_late(self) -> bool:
        """A prompt came when its block had been made already: that is another session."""
        begun = [(at, switch.sequence) for (at, _), switch in zip(self.schedule, self.switches, strict=False)]
        return any(number is not None and self.begins.get(number, 0.0) - at >= 0.75 for at, number in begun)

    async def more(self, chunks: int) -> None:
        """Until so many more chunks came, or the session has ended."""
        goal = len(self.numbers) + chunks
        async with asyncio.timeout(HANG):
            while len(self.numbers) < goal and not self.done:
                self.came.clear()
                await self.came.wait()


async def watch(watched: Watched, port: int, *, seconds: float, pacing: str = "realtime") -> Watched:
    """From its start to its end, over whatever connections it takes."""
    async with connect(f"ws://127.0.0.1:{port}", OPTIONS if pacing == "realtime" else FEW) as session:
        watched.session = session
        info = await session.start(
            "a red ball in a meadow",
            model="fast",
            seed=watched.seed,
            media=Media(format="jpeg"),
            pacing="none" if pacing == "none" else "realtime",
            max_seconds=seconds,
        )
        watched.session_id = info.session_id
        for at, mode in watched.schedule:
            watched.switches.append(await session.prompt(f"a blue ball at second {at:g}", mode=mode, at=at))
        async for chunk in session:
            watched.take(chunk)
        assert session.done is not None
        watched.missing, watched.duplicated = session.missing, session.duplicated
        watched.lost = session.notices.reconnects
        watched.worker_restarts = session.notices.worker_restarts
        watched.done = session.done.reason
        watched.came.set()
    return watched
