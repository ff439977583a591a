"""Sessions of jobs beside live ones: no places, no waiting, none that moves; and bounds of their own."""

import asyncio

import pytest

from service import ipc
from service.errors import CapacityError, ErrorCode, SessionError
from tests.service.api.test_seats import two_workers
from tests.service.api.test_worker_client import PATIENCE, Ear, start


def job(session: str) -> ipc.Start:
    return ipc.changed(start(session), background=True)


async def test_they_take_no_place_and_each_worker_has_one_by_the_setting() -> None:
    async with two_workers() as two:
        assert two.client.background_room == 2
        ears = [Ear(), Ear()]
        for name, ear in zip("xy", ears, strict=True):
            await two.client.open_background(job(name), ear)
        for ear in ears:
            await ear.until(ipc.Chunk)
        assert (two.client.sessions, two.client.background_room, two.client.seats.room) == (0, 0, 4)
        with pytest.raises(CapacityError):
            await two.client.open_background(job("z"), Ear())
        await two.client.send(ipc.Stop(session="x"))
        await ears[0].until(ipc.Ended)
        assert two.client.background_room == 1


async def test_what_a_lost_worker_was_making_is_over_and_nothing_else_is_heard_of_it() -> None:
    async with two_workers() as two:
        ear = Ear()
        await two.client.open_background(job("x"), ear)
        await ear.until(ipc.Chunk)
        number = 0 if two.has(0) else 1
        two.kill(number)
        heard = len(ear.events)
        assert (ear.workers, two.client.background_room) == (["lost"], 1)
        await two.client.send(ipc.Credit(session="x"))
        await two.client.open_background(job("x"), other := Ear())
        await other.until(ipc.Chunk)
        assert (len(ear.events), ear.workers) == (heard, ["lost"])


async def test_whoever_is_released_is_told_to_stop_and_heard_no_more() -> None:
    async with two_workers() as two:
        ear = Ear()
        await two.client.open_background(job("x"), ear)
        await ear.until(ipc.Started)
        await two.client.release("x")
        heard = len(ear.events)
        async with asyncio.timeout(PATIENCE):
            while two.client.background_room < 2:
                await asyncio.sleep(0.002)
        assert (len(ear.events), two.has(0) + two.has(1)) == (heard, [])


async def test_a_draining_service_tells_and_takes_none() -> None:
    async with two_workers() as two:
        ear = Ear()
        await two.client.open_background(job("x"), ear)
        await two.client.begin_drain()
        assert len(ear.draining_told) == 1
        with pytest.raises(SessionError) as caught:
            await two.client.open_background(job("y"), Ear())
        assert caught.value.code is ErrorCode.SERVER_DRAINING
        two.client.give_up()
        assert ear.losses == [ErrorCode.WORKER_DIED]
