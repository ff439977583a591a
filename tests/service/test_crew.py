"""Several supervised workers: who gets which device, and when the service has none left."""

import asyncio

import pytest

from service.api.worker_client import WorkerClient, WorkerState
from service.config import ServiceConfig
from service.crew import Crew, member_config
from tests.service.test_supervisor import CONFIG, LOADER, PATIENCE


@pytest.mark.parametrize(
    ("workers", "device", "devices"),
    [
        (1, "auto", ["auto"]),
        (2, "auto", ["auto:0", "auto:1"]),
        (2, "cuda", ["cuda:0", "cuda:1"]),
        (2, "cpu", ["cpu"] * 2),
    ],
)
def test_each_worker_has_a_device_of_its_own_unless_one_is_named(workers: int, device: str, devices: list[str]) -> None:
    config = ServiceConfig(workers=workers, device=device)
    assert [member_config(config, number).device for number in range(workers)] == devices


async def test_two_processes_are_ready_and_end_together() -> None:
    config = CONFIG.model_copy(update={"workers": 2})
    client = WorkerClient(config)
    crew = Crew(config, client, loader=LOADER)
    running = asyncio.create_task(crew.run())
    async with asyncio.timeout(PATIENCE):
        while len(client.seats.ready) < 2:
            await client.wait_for(WorkerState.READY)
            await asyncio.sleep(0.02)
    pids = {seat.facts.pid for seat in client.seats.ready if seat.facts}
    await crew.stop()
    assert (await asyncio.wait_for(running, PATIENCE), len(pids), len(client.seats)) == (True, 2, 0)


async def test_none_is_left_where_all_are_refused() -> None:
    config = CONFIG.model_copy(update={"workers": 2, "preset": "unknown"})
    client = WorkerClient(config)
    told: list[str] = []
    client.give_up = lambda: told.append(client.loss)  # type: ignore[method-assign]
    assert await asyncio.wait_for(Crew(config, client, loader=LOADER).run(), PATIENCE) is False
    assert len(told) == 1
