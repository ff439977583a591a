"""A store, workers without an engine and the jobs over them, in one event loop; and what tests ask of them.

Knows the parts by their names. Invariant: whatever a test does, everything it started is ended.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av

from service.access.principal import LOCAL, Principal
from service.config import ServiceConfig
from service.jobs.book import OnTerminal, nothing_to_tell
from service.jobs.jobs import Jobs
from service.jobs.values import Job, JobRequest, TimedPrompt, WeightedText
from service.store.store import SessionStore
from tests.service.jobs.workers import FakeWorkers, digest_of

CONFIG = ServiceConfig(disk_floor_bytes=0, job_retry_delay=0.05)
OTHER = Principal("other", "key", LOCAL.scopes)
GUARD = 60.0
BLOCK_SECONDS = 0.75


@dataclass(slots=True)
class Stage:
    store: SessionStore
    jobs: Jobs
    workers: FakeWorkers
    ended: list[str] = field(default_factory=list)

    async def end_of(self, job: str, *, principal: Principal = LOCAL) -> Job:
        """The job once it is terminal."""
        async with asyncio.timeout(GUARD):
            async for event in self.jobs.watch(principal, job):
                last = event.job
        return last

    async def until(self, job: str, holds: Callable[[Job], bool]) -> Job:
        async with asyncio.timeout(GUARD):
            async for event in self.jobs.watch(LOCAL, job):
                if holds(event.job):
                    return event.job
        raise AssertionError("the job has ended before")

    async def hashes(self, job: str) -> list[str]:
        return [row.frames_sha256 for row in await self.store.chunks(job)]


@contextlib.asynccontextmanager
async def opened(
    folder: Path,
    *,
    config: ServiceConfig = CONFIG,
    workers: FakeWorkers | None = None,
    running: bool = True,
    on_terminal: OnTerminal = nothing_to_tell,
) -> AsyncIterator[Stage]:
    store = SessionStore(folder)
    workers = workers or FakeWorkers()
    jobs = Jobs.over(store, config, workers=workers, on_terminal=on_terminal)
    tasks = [asyncio.create_task(workers.run())]
    if running:
        tasks.append(asyncio.create_task(jobs.run()))
    try:
        yield Stage(store, jobs, workers)
    finally:
        await jobs.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        store.close()


def story(*texts: str, seconds: float = 3.0, every: float = 0.75, **fields: object) -> JobRequest:
    """Prompts one after the other."""
    timeline = tuple(TimedPrompt(at=number * every, prompts=(WeightedText(text),)) for number, text in enumerate(texts))
    return JobRequest(timeline=timeline, seconds=seconds, **{"seed": 7, **fields})  # type: ignore[arg-type]


def expected(prompts: Sequence[str], *, seed: int = 7) -> list[str]:
    """Hashes of blocks under these prompts, one each."""
    return [digest_of(seed, block, prompt) for block, prompt in enumerate(prompts)]


def frames_in(video: Path) -> int:
    with av.open(str(video)) as container:
        return sum(1 for _ in container.decode(video=0))
