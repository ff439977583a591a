"""The waiting room, leases and places over a worker that may not answer: who gets in, who is let go, nothing leaks."""

import asyncio

import msgspec
import pytest

from service import ipc
from service.api.worker_client import WorkerClient, WorkerState
from service.errors import CapacityError, ErrorCode
from tests.service.api.test_worker_client import CONFIG, PATIENCE, Clock, Ear, serving, start
from tests.service.fakes import FACTS

ONE = CONFIG.model_copy(update={"max_sessions": 1, "waiting_room": 2, "heartbeat_timeout": 1e4})


async def until_free(client: WorkerClient) -> None:
    async with asyncio.timeout(PATIENCE):
        while client.sessions or client.waiting:
            await asyncio.sleep(0.002)


async def test_positions_are_told_and_the_next_one_starts_when_a_place_is_free() -> None:
    async with serving(ONE) as (client, worker):
        ears = {name: Ear() for name in "abc"}
        for name, ear in ears.items():
            await client.open(start(name), ear)
        assert [ears[name].positions for name in "abc"] == [[], [(1, 1)], [(2, 2)]]
        with pytest.raises(CapacityError, match="All 1 places are taken, and 2 sessions wait"):
            await client.open(start("d"), Ear())
        await client.send(ipc.Stop(session="a"))
        await ears["b"].until(ipc.Started)
        assert (ears["b"].admissions, ears["c"].positions) == (1, [(2, 2), (1, 1)])
        await client.release("b")
        await ears["c"].until(ipc.Chunk)
        await client.release("c")
        await until_free(client)
        started = [command.session for command in worker.worker.commands if isinstance(command, ipc.Start)]
        assert started == ["a", "b", "c"]


async def test_who_gives_up_waiting_is_not_started() -> None:
    async with serving(ONE) as (client, worker):
        ears = {name: Ear() for name in "abc"}
        for name, ear in ears.items():
            await client.open(start(name), ear)
        await client.release("b")
        assert ears["c"].positions == [(2, 2), (1, 1)]
        await client.release("a")
        await ears["c"].until(ipc.Started)
        assert not any(command.session == "b" for command in worker.worker.commands if isinstance(command, ipc.Start))


async def test_waiting_has_an_end() -> None:
    async with serving(ONE.model_copy(update={"waiting_timeout": 0.05})) as (client, _):
        waiting = Ear()
        await client.open(start("a"), Ear())
        await client.open(start("b"), waiting)
        async with asyncio.timeout(PATIENCE):
            while not waiting.losses:
                await asyncio.sleep(0.002)
        assert waiting.losses == [ErrorCode.CAPACITY]
        assert (client.sessions, client.waiting) == (1, 0)


async def test_sessions_may_be_more_than_memory_is_for() -> None:
    """They take turns in the worker."""
    async with serving(ONE.model_copy(update={"max_sessions": 10})) as (client, worker):
        worker.link.emit(ipc.Ready(facts=msgspec.structs.replace(FACTS, max_streams=1)))
        for name in "ab":
            ear = Ear()
            await client.open(start(name), ear)
            await ear.until(ipc.Started)
        assert (client.places, client.sessions) == (10, 2)


async def test_a_place_is_free_again_although_the_worker_never_answers_the_stop() -> None:
    async with serving(ONE.model_copy(update={"answer_timeout": 0.1})) as (client, worker):
        waiting = Ear()
        await client.open(start("a"), Ear())
        await client.open(start("b"), waiting)
        worker.worker.deaf_to_stop = True
        await client.release("a")
        await waiting.until(ipc.Started)
        assert (client.sessions, client.waiting, waiting.losses) == (1, 0, [])


async def test_a_session_that_the_client_stopped_and_the_worker_keeps_is_ended_and_freed() -> None:
    async with serving(ONE.model_copy(update={"answer_timeout": 0.1})) as (client, worker):
        ear = Ear()
        await client.open(start("a"), ear)
        worker.worker.deaf_to_stop = True
        await client.send(ipc.Stop(session="a"))
        await until_free(client)
        assert ear.losses == [ErrorCode.WORKER_STALLED]


async def test_a_lease_that_runs_out_ends_the_session_and_frees_the_place_once() -> None:
    clock = Clock()
    async with serving(ONE, clock) as (client, worker):
        ear, alive = Ear(), Ear()
        await client.open(start("a"), ear)
        await client.open(start("b"), alive)
        clock.added += ONE.lease_seconds + 1
        await alive.until(ipc.Started)
        assert ear.losses == [ErrorCode.LEASE_EXPIRED]
        for _ in range(4):
            client.renew("b")
            clock.added += 0.6 * ONE.lease_seconds
            await asyncio.sleep(3 * ONE.heartbeat_interval)
        assert (alive.losses, client.sessions) == ([], 1)
        await client.release("a")
        assert client.sessions == 1
        await client.release("b")
        await until_free(client)
        stops = [command.session for command in worker.worker.commands if isinstance(command, ipc.Stop)]
        assert stops == ["a", "b"]


async def test_draining_warns_those_who_run_and_sends_away_those_who_wait() -> None:
    async with serving(ONE.model_copy(update={"drain_grace": 5.0})) as (client, _):
        running, waiting = Ear(), Ear()
        await client.open(start("a"), running)
        await client.open(start("b"), waiting)
        draining = asyncio.create_task(client.drain())
        await asyncio.sleep(0.05)
        assert (running.draining_told, waiting.losses) == ([5.0], [ErrorCode.SERVER_DRAINING])
        assert not any(isinstance(event, ipc.Ended) for event in running.events)
        await client.send(ipc.Stop(session="a"))
        await draining
        assert (client.sessions, running.losses) == (0, [])


async def test_places_and_turns_are_kept_for_another_worker_until_there_will_be_none() -> None:
    async with serving(ONE) as (client, worker):
        ears = [Ear(), Ear()]
        for name, ear in zip("ab", ears, strict=True):
            await client.open(start(name), ear)
        client.lose("exit code 9")
        assert [(ear.workers, ear.losses) for ear in ears] == [(["lost"], []), ([], [])]
        assert (client.sessions, client.waiting, dict(client.losses)) == (1, 1, {"ended": 1})
        another = worker.successor()
        tasks = [asyncio.create_task(another.run()), asyncio.create_task(client.serve(another.link))]
        async with asyncio.timeout(PATIENCE):
            await client.wait_for(WorkerState.READY)
        assert ears[0].workers == ["lost", "ready"]
        await client.restart(start("a"))
        await client.send(ipc.Stop(session="a"))
        await ears[1].until(ipc.Started)
        client.lose("exit code 9")
        client.give_up()
        assert [ear.losses for ear in ears] == [[], [ErrorCode.WORKER_DIED]]
        assert (client.sessions, client.waiting) == (0, 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
