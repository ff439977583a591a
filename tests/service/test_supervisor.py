"""A supervised worker with a fake engine: killed, stopped, hung, crashing and refused; and the policy as numbers."""

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from service.api.worker_client import WorkerClient, WorkerState
from service.channel import Endpoints
from service.config import ServiceConfig
from service.errors import ErrorCode
from service.ipc import Chunk, Ended, Prompt, SessionEvent, Start
from service.supervisor import RestartPolicy, Supervisor, describe_exit, worker_settings

LOADER = "tests.service.worker.fakes:load_fake"
PATIENCE = 90.0
"""For a worker that has to import torch on a busy machine."""
CONFIG = ServiceConfig(
    preset="fake",
    heartbeat_interval=0.05,
    worker_poll_interval=0.05,
    worker_restart_delay=0.01,
    worker_restarts=1,
    worker_stop_timeout=10.0,
    session_credits=8,
)


def test_restarts_come_later_each_time_and_then_no_more() -> None:
    policy = RestartPolicy(4, 600.0, delay=1.0, delay_max=5.0)
    assert [policy.delay_after_loss(float(second)) for second in range(5)] == [1.0, 2.0, 4.0, 5.0, None]


def test_restarts_that_are_long_past_do_not_count() -> None:
    policy = RestartPolicy(1, 600.0, delay=1.0, delay_max=60.0)
    assert policy.delay_after_loss(0.0) == 1.0
    assert policy.delay_after_loss(599.0) is None
    assert policy.delay_after_loss(600.0) == 1.0


def test_no_restarts_may_be_asked_for() -> None:
    assert RestartPolicy(0, 600.0, delay=1.0, delay_max=60.0).delay_after_loss(0.0) is None


def test_an_exit_is_described_by_code_or_signal() -> None:
    assert describe_exit(-9) == "its process was killed by SIGKILL"
    assert describe_exit(4) == "its process ended with code 4"


def test_the_worker_is_told_the_services_settings() -> None:
    settings = worker_settings(
        ServiceConfig(lead_blocks=2, max_sessions=7, max_jobs=1), Endpoints(Path("folder")), loader="a:b"
    )
    assert (settings.folder, settings.generator) == ("folder", "a:b")
    assert (settings.lead_blocks, settings.max_sessions, settings.encoder_queue) == (2, 7, 16)


@dataclass
class Listener:
    events: list[SessionEvent] = field(default_factory=list)
    losses: list[ErrorCode] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def deliver(self, event: SessionEvent) -> None:
        self.events.append(event)
        self.changed.set()

    def queued(self, position: int, waiting: int) -> None:
        raise AssertionError("there is a place for every session here")

    def admitted(self) -> None:
        """The worker is asked next; what it says is what counts here."""

    def draining(self, deadline_seconds: float) -> None:
        """The end follows."""

    def end(self, code: ErrorCode, message: str) -> None:
        self.losses.append(code)
        self.changed.set()

    def worker_lost(self, message: str) -> None:
        self.workers.append(message)
        self.changed.set()

    def worker_ready(self) -> None:
        """Another is there; what the session makes of it is the hub's to say."""

    async def until(self, *kinds: type[SessionEvent]) -> None:
        """Until there is such an event or, without kinds, a loss."""
        async with asyncio.timeout(PATIENCE):
            while not (self.losses or self.workers or any(isinstance(event, kinds) for event in self.events)):
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Watched:
    client: WorkerClient
    supervisor: Supervisor
    running: "asyncio.Task[bool]"
    pids: list[int] = field(default_factory=list)

    async def ready(self) -> int:
        """The process of the worker, once it is ready."""
        async with asyncio.timeout(PATIENCE):
            await self.client.wait_for(WorkerState.READY)
        assert self.client.facts is not None
        self.pids.append(self.client.facts.pid)
        return self.pids[-1]

    async def lost(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.client.wait_for(WorkerState.LOST)

    async def open(self, text: str = "p", *, session: str = "s") -> Listener:
        listener = Listener()
        start = Start(session=session, prompts=(Prompt(text),), credits=8, pacing="none", format="raw")
        await self.client.open(start, listener)
        return listener

    async def outcome(self) -> bool:
        return await asyncio.wait_for(self.running, PATIENCE)


@asynccontextmanager
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> AsyncIterator[Watched]:
    """A supervisor in this process; afterwards no process and no folder of it may be left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(psutil.Process().children())  # such as the tracker that multiprocessing keeps
    config = CONFIG.model_copy(update=changes)
    client = WorkerClient(config)
    supervisor = Supervisor(config, client, loader=LOADER)
    running = asyncio.create_task(supervisor.run())
    made = Watched(client, supervisor, running)
    try:
        yield made
    finally:
        await supervisor.stop()
        await made.outcome()
    assert list(tmp_path.iterdir()) == []
    assert [pid for pid in made.pids if psutil.pid_exists(pid)] == []
    assert set(psutil.Process().children()) <= before


async def test_a_killed_worker_is_told_to_its_sessions_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watched(tmp_path, monkeypatch) as service:
        first = await service.ready()
        listener = await service.open()
        await listener.until(Chunk)
        os.kill(first, signal.SIGKILL)
        await listener.until()
        assert (listener.workers, listener.losses) == (["its process was killed by SIGKILL"], [])
        assert await service.ready() != first
        again = await service.open("another", session="t")
        await again.until(Chunk)
        assert again.losses == []


async def test_stopping_ends_sessions_with_everything_that_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watched(tmp_path, monkeypatch) as service:
        await service.ready()
        listener = await service.open()
        await listener.until(Chunk)
        await service.supervisor.stop()
        assert await service.outcome()
        ended = listener.events[-1]
        assert isinstance(ended, Ended)
        assert (ended.reason, ended.chunks) == ("drained", len([e for e in listener.events if isinstance(e, Chunk)]))
        assert listener.losses == []


@pytest.mark.parametrize(
    ("preset", "text", "changes"),
    [
        ("fake", "p", {"heartbeat_timeout": 3.0, "worker_stop_timeout": 0.1}),
        ("fake-hang", "hang", {"block_deadline": 3.0, "worker_stop_timeout": 0.1}),
    ],
    ids=["stopped", "hung"],
)
async def test_a_silent_or_hung_worker_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, preset: str, text: str, changes: dict[str, object]
) -> None:
    async with watched(tmp_path, monkeypatch, preset=preset, **changes) as service:
        first = await service.ready()
        listener = await service.open(text)
        await listener.until(Chunk)
        if preset == "fake":
            os.kill(first, signal.SIGSTOP)
        await listener.until()
        assert (len(listener.workers), listener.losses) == (1, [])
        assert await service.ready() != first


async def test_a_fault_of_the_engine_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(tmp_path, monkeypatch, preset="fake-fault", worker_restarts=0) as service:
        await service.ready()
        listener = await service.open("break")
        await listener.until()
        assert not await service.outcome()
        assert "device-side assert" in service.client.loss


async def test_a_worker_that_dies_at_every_start_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with watched(tmp_path, monkeypatch, preset="fake-exit") as service:
            assert not await service.outcome()
    assert service.client.loss == "its process ended with code 42"
    assert [record.message for record in caplog.records if "started again" in record.message] == [
        "the worker is started again in 0.01 s"
    ]


async def test_a_worker_that_is_refused_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(tmp_path, monkeypatch, preset="unknown") as service:
        assert not await service.outcome()
    assert "expected a fake preset, got 'unknown'" in service.client.loss
    assert not any("started again" in record.message for record in caplog.records)


async def test_stopping_while_it_loads_does_not_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(tmp_path, monkeypatch, preset="fake-sleep") as service:
        await asyncio.sleep(0)
        await service.supervisor.stop()
        assert await service.outcome()


async def test_stopping_between_two_starts_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(tmp_path, monkeypatch, preset="fake-exit", worker_restart_delay=600.0) as service:
        await service.lost()
        await service.supervisor.stop()
        assert await service.outcome()
