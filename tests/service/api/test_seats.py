"""Several workers behind one client: who sits where, who moves when one is lost, and who waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from service import ipc
from service.api.seats import Seat, Seats
from service.api.worker_client import WorkerClient, WorkerState
from service.errors import CapacityError
from tests.service.api.test_worker_client import CONFIG, PATIENCE, Ear, start
from tests.service.fakes import FACTS
from tests.service.memory_worker import MemoryWorker

TWO = CONFIG.model_copy(update={"workers": 2, "waiting_room": 4})


def seat(places: int, *, ready: bool = True, others: int = 0) -> Seat:
    beat = ipc.Heartbeat(sessions=others, idle_seconds=0.0, busy=False, blocks=0, memory_bytes=1, others=others)
    return Seat(MemoryWorker().link, places, 0.0, facts=FACTS if ready else None, heartbeat=beat)


def test_the_seat_with_most_room_is_given_and_kept() -> None:
    seats, small, large = Seats(), seat(1), seat(3)
    for one in (small, large):
        seats.add(one)
    assert [seats.give(name) for name in "abcd"] == [large, large, small, large]
    assert (seats.give("e"), seats.give("c"), seats.room) == (None, small, 0)
    seats.leave("c")
    assert (seats.room, seats.of("c"), seats.give("e")) == (1, None, small)


@pytest.mark.parametrize(("ready", "others", "room"), [(True, 0, 3), (False, 0, 0), (True, 2, 1), (True, 5, 0)])
def test_room_is_what_is_ready_and_not_taken_by_others(ready: bool, others: int, room: int) -> None:
    assert seat(3, ready=ready, others=others).room == room


def test_a_seat_that_refused_has_no_room_until_it_is_heard_of() -> None:
    refused = seat(3)
    refused.full = True
    assert refused.room == 0


def test_heartbeats_are_added_up() -> None:
    seats = Seats()
    for others in (2, 3):
        seats.add(seat(8, others=others))
    beat = seats.heartbeat
    assert beat is not None
    assert (beat.sessions, beat.memory_bytes) == (5, 2)
    assert Seats().heartbeat is None


@dataclass
class Two:
    client: WorkerClient
    workers: list[MemoryWorker]
    tasks: list[list["asyncio.Task[None]"]] = field(default_factory=list)

    def start(self, worker: MemoryWorker) -> None:
        self.tasks.append([asyncio.create_task(worker.run()), asyncio.create_task(self.client.serve(worker.link))])

    def kill(self, number: int) -> None:
        for task in self.tasks[number]:
            task.cancel()
        self.client.lose("it was killed", link=self.workers[number].link)

    def has(self, number: int) -> list[str]:
        return sorted(self.workers[number].worker.sessions)

    async def until(self, *counts: int) -> None:
        """Until each worker has so many sessions."""
        async with asyncio.timeout(PATIENCE):
            while [len(worker.worker.sessions) for worker in self.workers] != list(counts):
                await asyncio.sleep(0.002)


@asynccontextmanager
async def two_workers() -> AsyncIterator[Two]:
    two = Two(WorkerClient(TWO), [MemoryWorker(heartbeat_interval=0.02) for _ in range(2)])
    for worker in two.workers:
        two.start(worker)
    try:
        async with asyncio.timeout(PATIENCE):
            while len(two.client.seats.ready) < 2:
                await asyncio.sleep(0.002)
        yield two
    finally:
        tasks = [task for pair in two.tasks for task in pair]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_sessions_spread_over_the_workers_and_no_more_come_than_fit() -> None:
    async with two_workers() as two:
        for name in "abcd":
            await two.client.open(start(name), Ear())
        await two.until(2, 2)
        assert (two.client.places, two.client.sessions, two.client.state) == (4, 4, WorkerState.READY)
        ear = Ear()
        await two.client.open(start("e"), ear)
        assert (ear.positions, two.client.waiting) == ([(1, 1)], 1)
        await two.client.send(ipc.Stop(session="a"))
        await ear.until(ipc.Chunk)


async def test_sessions_of_a_lost_worker_go_to_the_other_while_it_has_room_and_the_rest_wait() -> None:
    async with two_workers() as two:
        ears = {name: Ear() for name in "abc"}
        for name, ear in ears.items():
            await two.client.open(start(name), ear)
            await ear.until(ipc.Started)
        lost = 0 if len(two.has(0)) == 2 else 1
        moved = two.has(lost)
        two.kill(lost)
        assert [ears[name].workers for name in moved].count(["lost", "ready"]) == 1
        assert [ears[name].workers for name in moved].count(["lost"]) == 1
        assert two.client.state is WorkerState.READY
        newcomer = Ear()
        await two.client.open(start("d"), newcomer)
        assert newcomer.positions == [(1, 1)]
        ready = next(name for name in moved if ears[name].workers == ["lost", "ready"])
        await two.client.restart(start(ready))
        two.workers.append(MemoryWorker(heartbeat_interval=0.02))
        two.start(two.workers[-1])
        await newcomer.until(ipc.Chunk)
        assert [ears[name].workers for name in moved] == [["lost", "ready"]] * 2
        assert (len(two.has(1 - lost)), two.has(2)) == (2, ["d"])


async def test_a_shared_worker_that_is_full_lets_the_session_wait_in_front() -> None:
    async with two_workers() as two:
        for worker in two.workers:
            worker.frozen = True
        ears = {name: Ear() for name in "abcde"}
        for name, ear in ears.items():
            await two.client.open(start(name), ear)
        seat = next(iter(two.client.seats))
        refused = min(seat.sessions)
        two.workers[0].link.emit(ipc.Full(session=refused))
        async with asyncio.timeout(PATIENCE):
            while not ears[refused].positions:
                await asyncio.sleep(0.002)
        assert (ears[refused].positions, ears["e"].positions) == ([(1, 2)], [(1, 1), (2, 2)])
        assert seat.full
        two.workers[0].frozen = False
        await ears[refused].until(ipc.Started)
        assert (two.client.waiting, ears["e"].events) == (1, [])


async def test_a_shared_worker_that_is_full_is_as_good_as_lost_to_a_session_that_had_begun() -> None:
    async with two_workers() as two:
        ear = Ear()
        await two.client.open(start("a"), ear)
        await ear.until(ipc.Started)
        number = 0 if two.has(0) else 1
        two.workers[number].link.emit(ipc.Full(session="a"))
        async with asyncio.timeout(PATIENCE):
            while ear.workers != ["lost", "ready"]:
                await asyncio.sleep(0.002)
        assert two.client.seats.of("a") is not list(two.client.seats)[number]


async def test_when_all_are_lost_nobody_gets_in_and_everybody_waits() -> None:
    async with two_workers() as two:
        ear = Ear()
        await two.client.open(start("a"), ear)
        two.client.lose("the machine is gone")
        assert (two.client.state, two.client.losses.total(), ear.workers) == (WorkerState.LOST, 2, ["lost"])


async def test_a_full_house_says_how_many_places_there_are() -> None:
    client = WorkerClient(TWO.model_copy(update={"waiting_room": 0}))
    worker = MemoryWorker(heartbeat_interval=0.02)
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(client.serve(worker.link))]
    async with asyncio.timeout(PATIENCE):
        await client.wait_for(WorkerState.READY)
    for name in "ab":
        await client.open(start(name), Ear())
    with pytest.raises(CapacityError, match="All 2 places"):
        await client.open(start("c"), Ear())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
