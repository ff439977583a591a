"""One worker shared by several API processes, without Ray: whose sessions are whose, takeovers, places, silence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service import ipc
from service.cluster.share import Share, ShareLimits
from service.errors import ErrorCode
from tests.service.api.test_worker_client import PATIENCE, Clock, start
from tests.service.memory_worker import MemoryWorker

LIMITS = ShareLimits(places=2, waiting=64, silence=30.0)


@dataclass
class Peer:
    """One API process, that reads what it is told."""

    share: Share
    name: str
    generation: int
    heard: list[ipc.Event] = field(default_factory=list)

    async def tell(self, command: ipc.Command) -> None:
        await self.share.tell(self.name, command, generation=self.generation)

    async def until(self, kind: type[ipc.Message]) -> ipc.Message:
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.heard:
                    if isinstance(event, kind):
                        return event
                self.heard += await self.share.hear(self.name, generation=self.generation, timeout=1.0)

    def sessions(self) -> set[str]:
        return {event.session for event in self.heard if isinstance(event, ipc.Chunk)}


@dataclass
class Shared:
    share: Share
    worker: MemoryWorker
    clock: Clock

    def join(self, name: str) -> Peer:
        return Peer(self.share, name, self.share.join(name))


@asynccontextmanager
async def shared(limits: ShareLimits = LIMITS) -> AsyncIterator[Shared]:
    clock = Clock()
    share, worker = Share(limits, clock=clock), MemoryWorker(heartbeat_interval=0.02)
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(share.serve(worker.link))]
    try:
        async with asyncio.timeout(PATIENCE):
            while not share.ready:
                await asyncio.sleep(0.002)
        yield Shared(share, worker, clock)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_each_hears_of_its_own_sessions_and_how_many_the_others_have() -> None:
    async with shared() as service:
        one, other = service.join("one"), service.join("other")
        await one.tell(start("a"))
        await other.tell(start("b"))
        for peer in (one, other):
            await peer.until(ipc.Chunk)
            peer.heard.clear()
            beat = await peer.until(ipc.Heartbeat)
            assert isinstance(beat, ipc.Heartbeat)
            assert (beat.sessions, beat.others) == (2, 1)
        await one.tell(ipc.Stop(session="b"))  # not its own
        await one.tell(ipc.Stop(session="a"))
        await one.until(ipc.Ended)
        assert list(service.worker.worker.sessions) == ["b"]
        assert (one.sessions() <= {"a"}, other.sessions() <= {"b"}) == (True, True)


async def test_whoever_comes_to_a_full_worker_is_told_so_but_for_jobs() -> None:
    async with shared() as service:
        one, other = service.join("one"), service.join("other")
        for name in "ab":
            await one.tell(start(name))
        await other.tell(start("c"))
        assert (await other.until(ipc.Full)) == ipc.Full(session="c")
        await other.tell(ipc.changed(start("d"), background=True))
        await other.until(ipc.Started)
        assert service.share.live_sessions == 2


async def test_a_session_goes_to_the_last_that_started_it_and_ends_for_the_one_before_first() -> None:
    async with shared() as service:
        one, other = service.join("one"), service.join("other")
        await one.tell(start("a"))
        await one.until(ipc.Chunk)
        await other.tell(start("a", credits=1))
        await other.tell(ipc.Credit(session="a", chunks=2))
        gone = await one.until(ipc.Failed)
        assert isinstance(gone, ipc.Failed)
        assert gone.code == ErrorCode.CONNECTION_REPLACED
        await one.tell(ipc.Stop(session="a"))
        await other.until(ipc.Started)
        async with asyncio.timeout(PATIENCE):
            while sum(isinstance(event, ipc.Chunk) for event in other.heard) < 3:
                other.heard += await service.share.hear("other", generation=other.generation, timeout=1.0)
        told = [type(command) for command in service.worker.worker.commands]
        assert told == [ipc.Start, ipc.Stop, ipc.Start, ipc.Credit]
        assert not any(isinstance(event, ipc.Ended) for event in one.heard + other.heard)


async def test_a_process_that_is_silent_loses_its_sessions() -> None:
    async with shared() as service:
        one, other = service.join("one"), service.join("other")
        await one.tell(start("a"))
        await one.until(ipc.Started)
        service.clock.added += LIMITS.silence + 1
        await other.share.hear("other", generation=other.generation, timeout=0.0)
        async with asyncio.timeout(PATIENCE):
            while service.worker.worker.sessions:
                await asyncio.sleep(0.002)
        (last,) = await service.share.hear("one", generation=one.generation, timeout=0.0)
        assert isinstance(last, ipc.Dead)


async def test_a_process_that_ends_takes_its_sessions_with_it_and_the_worker_stays() -> None:
    async with shared() as service:
        one, other = service.join("one"), service.join("other")
        await one.tell(start("a"))
        await other.tell(start("b"))
        await other.until(ipc.Chunk)
        await one.tell(ipc.Shutdown())
        await one.until(ipc.Ended)
        assert (list(service.worker.worker.sessions), service.worker.worker.stopped) == (["b"], False)


async def test_of_a_lost_worker_everybody_hears_once_and_the_next_start_is_another_generation() -> None:
    async with shared() as service:
        one = service.join("one")
        await one.tell(start("a"))
        await one.until(ipc.Started)
        service.share.lose("its process was killed")
        (last,) = await service.share.hear("one", generation=one.generation, timeout=0.0)
        assert isinstance(last, ipc.Dead)
        assert (last.message, service.join("one").generation, service.share.live_sessions) == (
            "its process was killed",
            0,
            0,
        )
        await one.tell(start("b"))  # it goes nowhere
        serving = asyncio.create_task(service.share.serve(service.worker.successor().link))
        await asyncio.sleep(0)
        assert service.join("one").generation == one.generation + 1
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_a_process_that_does_not_read_is_let_go() -> None:
    async with shared(ShareLimits(places=2, waiting=8, silence=30.0)) as service:
        one = service.join("one")
        await one.tell(start("a", credits=1000))
        async with asyncio.timeout(PATIENCE):
            while service.worker.worker.sessions or not service.worker.worker.commands:
                await asyncio.sleep(0.002)
        assert [type(command) for command in service.worker.worker.commands] == [ipc.Start, ipc.Stop]
