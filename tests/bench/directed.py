"""Sessions that are watched whole while servers, workers and connections come and go, for commands that disturb them.

It knows the client library; nothing of processes. Invariants: what a viewer would have seen is kept by block, with what
was taken back taken out; blocks are contiguous; the same session undisturbed is what it is held against.
"""

import asyncio
from dataclasses import dataclass, field

from client.client import Session, connect
from client.connection import ClientOptions
from client.requests import Media
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
    session: Session | None = None

    def take(self, sequence: int, block: int, sha256: str) -> None:
        if block > len(self.video) or (self.numbers and sequence <= self.numbers[-1]):
            self.gaps += 1
        del self.video[block:]
        self.video.append(sha256)
        self.numbers.append(sequence)
        self.came.set()

    async def more(self, chunks: int) -> None:
        """Until so many more chunks came, or the session has ended."""
        goal = len(self.numbers) + chunks
        async with asyncio.timeout(HANG):
            while len(self.numbers) < goal and not self.done:
                self.came.clear()
                await self.came.wait()


async def watch(watched: Watched, port: int, *, seconds: float, pacing: str = "realtime") -> Watched:
    """From its start to its end, over whatever connections it takes."""
    async with connect(f"ws://127.0.0.1:{port}", OPTIONS) as session:
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
        async for chunk in session:
            watched.take(chunk.sequence, chunk.metadata.block, chunk.frames_sha256)
        assert session.done is not None
        watched.missing, watched.duplicated = session.missing, session.duplicated
        watched.lost = session.notices.reconnects
        watched.worker_restarts = session.notices.worker_restarts
        watched.done = session.done.reason
        watched.came.set()
    return watched
