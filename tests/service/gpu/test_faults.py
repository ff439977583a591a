"""Faults of GPUs, from recorded events to what becomes of the worker."""

import asyncio
import sys
import threading
from collections import deque
from dataclasses import dataclass, field

import pytest

from service.api.worker_client import WorkerClient, WorkerState
from service.crew import Crew
from service.gpu.events import GpuEvent
from service.gpu.nvml import NvmlEvents, open_nvml
from service.gpu.policy import LOST, XID_POLICY, Remedy, fault_of
from service.gpu.watch import GpuWatch
from tests.service.gpu.fake_nvml import FakeNvml, NVMLError_Unknown
from tests.service.test_supervisor import CONFIG, LOADER, PATIENCE
from tests.service.worker.fakes import Clock


@dataclass
class Told:
    """Workers that only remember what they are told."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def replace(self, gpu: str, reason: str) -> None:
        self.said.append(("replace", gpu))

    def fence(self, gpu: str, reason: str) -> None:
        self.said.append(("fence", gpu))


class Recorded:
    """Events one after the other, then none for ever."""

    def __init__(self, *events: GpuEvent) -> None:
        self.events = deque(events)
        self.over = threading.Event()
        self.closed = False

    def wait(self, seconds: float) -> GpuEvent | None:
        if self.events:
            return self.events.popleft()
        self.over.wait(seconds)
        return None

    def close(self) -> None:
        self.closed = True


def watch(workers: Told, clock: Clock | None = None) -> GpuWatch:
    return GpuWatch(Recorded(), workers, interval=0.01, settle=10.0, clock=clock or Clock())


# What a number means


@pytest.mark.parametrize("xid", XID_POLICY)
def test_each_fault_leads_to_its_remedy_and_no_other(xid: int) -> None:
    workers = Told()
    watch(workers).on_event(GpuEvent("GPU-0", xid))
    expected = {Remedy.RESTART: [("replace", "GPU-0")], Remedy.FENCE: [("fence", "GPU-0")], Remedy.WARN: []}
    assert workers.said == expected[XID_POLICY[xid].remedy]


def test_the_table_is_as_published() -> None:
    by_remedy = {remedy: {xid for xid, fault in XID_POLICY.items() if fault.remedy is remedy} for remedy in Remedy}
    assert {13, 31, 43, 45, 94} <= by_remedy[Remedy.RESTART]
    assert {48, 74, 79, 95, 119, 120} <= by_remedy[Remedy.FENCE]
    assert len(XID_POLICY) >= 10


def test_a_number_that_is_not_known_is_only_written_down(caplog: pytest.LogCaptureFixture) -> None:
    workers = Told()
    watch(workers).on_event(GpuEvent("GPU-0", 9999))
    assert (workers.said, fault_of(9999).remedy) == ([], Remedy.WARN)
    assert "GPU GPU-0 reported Xid 9999: not known to this program" in caplog.text


def test_what_follows_from_a_fault_does_not_replace_the_worker_again() -> None:
    workers, clock = Told(), Clock()
    watching = watch(workers, clock)
    for xid in (31, 43, 45):
        watching.on_event(GpuEvent("GPU-0", xid))
    watching.on_event(GpuEvent("GPU-1", 31))
    assert workers.said == [("replace", "GPU-0"), ("replace", "GPU-1")]
    clock.now += 10.0
    watching.on_event(GpuEvent("GPU-0", 31))
    assert workers.said[2:] == [("replace", "GPU-0")]


def test_a_fenced_gpu_stays_so_and_settling_does_not_keep_it_from_it() -> None:
    workers = Told()
    watching = watch(workers)
    for xid in (31, 48, 31, 79):
        watching.on_event(GpuEvent("GPU-0", xid))
    assert workers.said == [("replace", "GPU-0"), ("fence", "GPU-0")]


# Where the numbers come from


def test_nvml_events_are_of_every_gpu_and_of_faults_only() -> None:
    library = FakeNvml(recorded=deque([(1, 31), (0, 94)]))
    events = NvmlEvents(library)
    assert library.registered == [(0, 8), (1, 8)]
    assert [events.wait(1.0) for _ in range(3)] == [GpuEvent("GPU-1", 31), GpuEvent("GPU-0", 94), None]
    events.close()
    assert library.closed == ["set", "library"]


@pytest.mark.parametrize("recorded", [deque(), deque([NVMLError_Unknown()])], ids=["silent", "failing"])
def test_a_gpu_that_is_lost_is_told_of_once(recorded: "deque[tuple[int, int] | Exception]") -> None:
    library = FakeNvml(recorded=recorded)  # type: ignore[arg-type]
    events = NvmlEvents(library)
    library.lost.add(1)
    assert [events.wait(0.0) for _ in range(3)] == [GpuEvent("GPU-1", LOST), None, None]


def test_a_library_that_fails_is_asked_again() -> None:
    events = NvmlEvents(FakeNvml(recorded=deque([NVMLError_Unknown(), (0, 13)])))
    assert [events.wait(0.0), events.wait(0.0)] == [None, GpuEvent("GPU-0", 13)]


@pytest.mark.parametrize("module", [None, "broken"])
def test_a_machine_without_gpus_is_not_watched(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, module: str | None
) -> None:
    class Broken(FakeNvml):
        def nvmlInit(self) -> None:
            raise NVMLError_Unknown("no driver")

    caplog.set_level("INFO")
    monkeypatch.setitem(sys.modules, "pynvml", None if module is None else Broken())
    assert open_nvml() is None
    said = "the package nvidia-ml-py is not installed" if module is None else "no driver"
    assert f"GPU faults are not watched: {said}" in caplog.text


# What becomes of real workers


@dataclass
class Service:
    client: WorkerClient
    crew: Crew
    running: "asyncio.Task[bool]"

    async def pid(self) -> int:
        """The process of a worker that is ready; its GPU is called A from now on."""
        async with asyncio.timeout(PATIENCE):
            await self.client.wait_for(WorkerState.READY)
        assert self.client.facts is not None
        self.crew.members[0].gpu = "A"  # the fake engine is on none
        return self.client.facts.pid


async def faulty(*events: GpuEvent) -> tuple[Service, "asyncio.Task[None]", int, Recorded]:
    client = WorkerClient(CONFIG)
    crew = Crew(CONFIG, client, loader=LOADER)
    service = Service(client, crew, asyncio.create_task(crew.run()))
    first = await service.pid()
    recorded = Recorded(*events)
    watching = asyncio.create_task(GpuWatch(recorded, crew, interval=0.01, settle=10.0).run())
    return service, watching, first, recorded


async def finish(service: Service, watching: "asyncio.Task[None]", recorded: Recorded) -> bool:
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await service.crew.stop()
    assert recorded.closed
    return await asyncio.wait_for(service.running, PATIENCE)


async def test_a_context_that_went_wrong_has_its_worker_replaced() -> None:
    service, watching, first, recorded = await faulty(GpuEvent("B", 79), GpuEvent("A", 31), GpuEvent("A", 45))
    async with asyncio.timeout(PATIENCE):
        await service.client.wait_for(WorkerState.LOST)
        assert service.client.losses == {"gpu_fault": 1}
        assert "Xid 31" in service.client.loss
    assert await service.pid() != first
    assert service.client.fenced_gpus == 0
    assert await finish(service, watching, recorded)


async def test_a_gpu_that_is_fenced_gets_no_worker_and_the_service_stays_not_ready() -> None:
    service, watching, _, recorded = await faulty(GpuEvent("A", 48))
    async with asyncio.timeout(PATIENCE):
        await service.client.wait_for(WorkerState.LOST)
        while service.crew.members[0].running:
            await asyncio.sleep(0.01)
    assert (service.client.fenced_gpus, service.running.done(), service.client.ready) == (1, False, False)
    assert "Xid 48" in service.client.loss
    assert not await finish(service, watching, recorded)
