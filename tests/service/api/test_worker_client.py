"""The API's side of the worker: routing, places, every way of losing the worker, draining, the real channel."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from threading import Thread

import pytest

from service import ipc
from service.api.worker_client import WorkerClient, WorkerState
from service.channel import ApiChannel, ChannelLimits, Endpoints, WorkerChannel
from service.config import ServiceConfig
from service.errors import CapacityError, ErrorCode, SessionError
from tests.service.fakes import FACTS, FakeWorker
from tests.service.memory_worker import MemoryWorker

CONFIG = ServiceConfig(
    heartbeat_interval=0.02,
    heartbeat_timeout=30.0,
    max_sessions=2,
    drain_timeout=0.2,
    drain_grace=0.05,
    waiting_room=0,
)
PATIENCE = 60.0


class Clock:
    """The machine's time, and what a test adds to it: so no limit of a test is one that a busy machine passes."""

    def __init__(self) -> None:
        self.added = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.added


class Ear:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[ipc.SessionEvent] = []
        self.losses: list[ErrorCode] = []
        self.positions: list[tuple[int, int]] = []
        self.admissions = 0
        self.workers: list[str] = []
        self.draining_told: list[float] = []

    def deliver(self, event: ipc.SessionEvent) -> None:
        self.events.append(event)

    def queued(self, position: int, waiting: int) -> None:
        self.positions.append((position, waiting))

    def admitted(self) -> None:
        self.admissions += 1

    def draining(self, deadline_seconds: float) -> None:
        self.draining_told.append(deadline_seconds)

    def end(self, code: ErrorCode, message: str) -> None:
        self.losses.append(code)

    def worker_lost(self, message: str) -> None:
        self.workers.append("lost")

    def worker_ready(self) -> None:
        self.workers.append("ready")

    async def until(self, kind: type[ipc.Message]) -> ipc.Message:
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        return event
                await asyncio.sleep(0.002)

    async def chunks(self, count: int) -> None:
        """So many come, and no more although there is time for them."""
        async with asyncio.timeout(PATIENCE):
            while sum(isinstance(event, ipc.Chunk) for event in self.events) < count:
                await asyncio.sleep(0.002)
        await asyncio.sleep(0.1)
        assert sum(isinstance(event, ipc.Chunk) for event in self.events) == count


def start(session: str, credits: int = 2) -> ipc.Start:
    return ipc.Start(session=session, prompts=(ipc.Prompt("a"),), model="demo", credits=credits)


@asynccontextmanager
async def serving(
    config: ServiceConfig = CONFIG, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[tuple[WorkerClient, MemoryWorker]]:
    worker, client = MemoryWorker(heartbeat_interval=0.02), WorkerClient(config, clock=clock)
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(client.serve(worker.link))]
    try:
        async with asyncio.timeout(PATIENCE):
            await client.wait_for(WorkerState.READY)
        yield client, worker
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_ready_brings_the_facts() -> None:
    client = WorkerClient(CONFIG)
    assert (client.state, client.ready, client.facts) == (WorkerState.ABSENT, False, None)
    with pytest.raises(SessionError, match="absent") as caught:
        await client.open(start("a"), Ear())
    assert caught.value.code is ErrorCode.WORKER_UNAVAILABLE
    async with serving() as (client, _):
        assert (client.ready, client.facts) == (True, FACTS)


async def test_events_go_to_the_session_they_are_about() -> None:
    async with serving() as (client, _):
        one, other = Ear(), Ear()
        await client.open(start("one"), one)
        await client.open(start("other"), other)
        await one.until(ipc.Chunk)
        await other.until(ipc.Chunk)
        assert {event.session for event in one.events} == {"one"}
        assert {event.session for event in other.events} == {"other"}


async def test_chunks_stop_where_credits_end_and_go_on_with_each_credit() -> None:
    async with serving() as (client, worker):
        ear = Ear()
        await client.open(start("a", credits=2), ear)
        await ear.chunks(2)
        await client.send(ipc.Credit(session="a"))
        await ear.chunks(3)
        assert worker.worker.most_outstanding == 2


async def test_a_place_is_taken_until_the_worker_says_that_the_session_ended() -> None:
    async with serving() as (client, worker):
        ear = Ear()
        await client.open(start("a"), ear)
        await client.open(start("b"), Ear())
        with pytest.raises(CapacityError, match="All 2 places"):
            await client.open(start("c"), Ear())
        worker.frozen = True
        await client.release("a")
        assert client.sessions == 2
        heard = len(ear.events)
        worker.frozen = False
        async with asyncio.timeout(PATIENCE):
            while client.sessions == 2:
                await asyncio.sleep(0.002)
        assert len(ear.events) == heard
        await client.open(start("c"), Ear())


async def test_commands_for_a_session_that_ended_go_nowhere() -> None:
    async with serving() as (client, worker):
        await client.send(ipc.Stop(session="none"))
        await client.release("none")
        await asyncio.sleep(0.05)
        assert worker.worker.commands == []


async def test_a_start_that_fails_frees_its_place() -> None:
    async with serving() as (client, _):
        ear = Ear()
        await client.open(ipc.Start(session="a", prompts=(ipc.Prompt("a"),), model="other", credits=1), ear)
        failed = await ear.until(ipc.Failed)
        assert isinstance(failed, ipc.Failed)
        assert (failed.code, client.sessions) == ("model_unknown", 0)


@pytest.mark.parametrize("way", ["dead", "silent", "hung", "nonsense", "full", "told"])
async def test_every_way_of_losing_the_worker_is_told_to_every_session_once(way: str) -> None:
    clock = Clock()
    async with serving(clock=clock) as (client, worker):
        ears = [Ear(), Ear()]
        for name, ear in zip("ab", ears, strict=True):
            await client.open(start(name), ear)
        await _lose(client, worker, way)
        clock.added += CONFIG.heartbeat_timeout + 1 if way == "silent" else 0
        async with asyncio.timeout(PATIENCE):
            await client.wait_for(WorkerState.LOST)
        assert [ear.workers for ear in ears] == [["lost"]] * 2
        assert (client.sessions, client.ready, client.facts, client.losses.total()) == (2, False, None, 1)
        assert client.loss
        client.lose("again")
        await client.release("a")
        client.give_up()
        assert [(ear.workers, ear.losses) for ear in ears] == [(["lost"], []), (["lost"], [ErrorCode.WORKER_DIED])]
        assert client.sessions == 0


async def _lose(client: WorkerClient, worker: MemoryWorker, way: str) -> None:
    match way:
        case "dead":
            worker.link.emit(ipc.Dead(code="internal_error", message="out of memory"))
        case "silent":
            worker.frozen = True
        case "hung":
            worker.worker.heartbeat(busy=True, idle_seconds=CONFIG.block_deadline + 1)
        case "nonsense":
            worker.link.to_api.put_nowait([b"what", b"is this"])
        case "full":
            worker.link.full = True
            await client.send(ipc.Credit(session="a"))
        case "told":
            client.lose("exit code 9")


async def test_a_long_block_within_its_deadline_is_no_loss() -> None:
    async with serving() as (client, worker):
        worker.worker.heartbeat(busy=True, idle_seconds=CONFIG.block_deadline - 1)
        worker.worker.heartbeat(busy=False, idle_seconds=CONFIG.block_deadline + 1)
        await asyncio.sleep(0.1)
        assert client.ready


async def test_loading_may_take_longer_than_a_heartbeat_but_not_for_ever() -> None:
    clock = Clock()
    client = WorkerClient(CONFIG, clock=clock)
    serve = asyncio.create_task(client.serve(MemoryWorker().link))
    await asyncio.sleep(0)
    clock.added += CONFIG.heartbeat_timeout + 1
    await asyncio.sleep(3 * CONFIG.heartbeat_interval)
    assert client.state is WorkerState.LOADING
    clock.added += CONFIG.worker_start_timeout
    async with asyncio.timeout(PATIENCE):
        await client.wait_for(WorkerState.LOST)
    await serve


async def test_another_worker_can_take_the_place_of_a_lost_one() -> None:
    async with serving() as (client, _):
        client.lose("exit code 9")
        async with asyncio.timeout(PATIENCE):
            await client.wait_for(WorkerState.LOST)
        await asyncio.sleep(0.05)
        worker = MemoryWorker(heartbeat_interval=0.02)
        tasks = [asyncio.create_task(worker.run()), asyncio.create_task(client.serve(worker.link))]
        async with asyncio.timeout(PATIENCE):
            await client.wait_for(WorkerState.READY)
        ear = Ear()
        await client.open(start("a"), ear)
        await ear.until(ipc.Chunk)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_draining_takes_nobody_in_and_waits_for_the_others() -> None:
    async with serving() as (client, _):
        ear = Ear()
        await client.open(start("a"), ear)
        draining = asyncio.create_task(client.drain())
        await asyncio.sleep(0)
        with pytest.raises(SessionError) as caught:
            await client.open(start("b"), Ear())
        assert caught.value.code is ErrorCode.SERVER_DRAINING
        await draining
        ended = ear.events[-1]
        assert isinstance(ended, ipc.Ended)
        assert (ended.reason, ear.losses) == ("drained", [])


async def test_draining_ends_what_does_not_end_by_itself() -> None:
    async with serving(CONFIG.model_copy(update={"heartbeat_timeout": 60.0})) as (client, worker):
        ear = Ear()
        await client.open(start("a"), ear)
        worker.frozen = True
        await client.drain()
        assert ear.losses == [ErrorCode.SERVER_DRAINING]


async def test_draining_is_for_good() -> None:
    async with serving() as (client, _):
        await client.drain()
        client.lose("it ended")
        await asyncio.sleep(0.05)
        assert (client.state, client.ready) == (WorkerState.DRAINING, False)
        await client.serve(MemoryWorker().link)
        assert client.state is WorkerState.DRAINING


async def test_a_worker_that_is_ready_too_late_is_not_used() -> None:
    client, worker = WorkerClient(CONFIG), MemoryWorker()
    serve = asyncio.create_task(client.serve(worker.link))
    await asyncio.sleep(0)
    await client.drain()
    worker.worker.ready()
    await asyncio.sleep(0.05)
    assert (client.state, client.ready) == (WorkerState.DRAINING, False)
    serve.cancel()
    await asyncio.gather(serve, return_exceptions=True)


async def test_draining_without_a_worker_is_done_at_once() -> None:
    client = WorkerClient(CONFIG)
    await client.drain()
    assert client.state is WorkerState.DRAINING


async def test_a_session_over_the_real_channel() -> None:
    limits = ChannelLimits(messages=64, message_bytes=1 << 20, send_timeout=5.0, linger=0.0)
    endpoints = Endpoints.create()
    link = ApiChannel(endpoints, limits)
    thread = Thread(target=_work, args=(endpoints, limits))
    thread.start()
    client, ear = WorkerClient(ServiceConfig(heartbeat_interval=0.05)), Ear()
    serve = asyncio.create_task(client.serve(link))
    try:
        async with asyncio.timeout(PATIENCE):
            await client.wait_for(WorkerState.READY)
        await client.open(start("a"), ear)
        chunk = await ear.until(ipc.Chunk)
        assert isinstance(chunk, ipc.Chunk)
        assert len(chunk.payload) == 1200
        await client.drain()
        assert isinstance(ear.events[-1], ipc.Ended)
    finally:
        serve.cancel()
        with suppress(asyncio.CancelledError):
            await serve
        thread.join(PATIENCE)
        link.close()
        endpoints.remove()
    assert not thread.is_alive()


def _work(endpoints: Endpoints, limits: ChannelLimits) -> None:
    channel = WorkerChannel(endpoints, limits)
    worker = FakeWorker(channel.send)
    worker.ready()
    while not worker.stopped:
        for arrival in channel.wait(0.01):
            worker.handle(arrival.command)
        worker.heartbeat()
        worker.make_chunks()
    channel.close()
