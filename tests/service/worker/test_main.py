"""Real worker processes with a fake engine: READY, work, and every way to end, with the code that tells which."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
import psutil
import pytest

from service.channel import ApiChannel, Endpoints
from service.ipc import (
    Chunk,
    Dead,
    Ended,
    Event,
    Heartbeat,
    Prompt,
    Ready,
    Shutdown,
    Start,
    Started,
)
from service.worker.settings import ExitCode, settings_to_json
from tests.service.worker.fakes import LIMITS, SETTINGS

START_TIMEOUT = 60.0
"""Importing torch on a busy machine takes its time."""


@dataclass
class Process:
    popen: "subprocess.Popen[bytes]"
    channel: ApiChannel

    async def next(self, *kinds: type[Event]) -> Event:
        """The next event of one of these kinds; the others are dropped."""
        async with asyncio.timeout(START_TIMEOUT):
            while True:
                event = await self.channel.receive(START_TIMEOUT)
                if isinstance(event, kinds):
                    return event

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.popen.wait, START_TIMEOUT)


@asynccontextmanager
async def worker(preset: str = "fake", **changes: object) -> AsyncIterator[Process]:
    endpoints = Endpoints.create()
    folders = {"folder": str(endpoints.folder), "store_dir": str(endpoints.folder)}
    settings = msgspec.structs.replace(SETTINGS, **{**folders, "preset": preset, **changes})
    channel = ApiChannel(endpoints, LIMITS)
    command = [sys.executable, "-m", "service.worker.main"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as popen:
        assert popen.stdin is not None
        popen.stdin.write(settings_to_json(settings))
        popen.stdin.flush()
        try:
            yield Process(popen, channel)
        finally:
            popen.kill()
            channel.close()
            endpoints.remove()


def start(text: str = "p", *, session: str = "s", credits: int = 3) -> Start:
    return Start(session=session, prompts=(Prompt(text),), seed=1, credits=credits, pacing="none", format="jpeg")


async def test_it_is_ready_works_beats_and_drains() -> None:
    async with worker() as process:
        ready = await process.next(Ready)
        assert isinstance(ready, Ready)
        facts = ready.facts
        assert (facts.preset, facts.pid) == ("fake", process.popen.pid)
        assert (facts.first_block_frames, facts.frames_per_block) == (2, 4)
        await process.channel.send(start())
        events = [await process.next(Started, Chunk) for _ in range(4)]
        assert [type(event) for event in events] == [Started, Chunk, Chunk, Chunk]
        beat = await process.next(Heartbeat)
        while isinstance(beat, Heartbeat) and beat.blocks < 3:
            beat = await process.next(Heartbeat)
        assert isinstance(beat, Heartbeat)
        assert (beat.sessions, beat.busy) == (1, False)
        process.popen.send_signal(signal.SIGINT)  # Ctrl-C reaches the whole group; the parent decides
        await process.channel.send(Shutdown())
        ended = await process.next(Ended)
        assert isinstance(ended, Ended)
        assert (ended.reason, ended.chunks) == ("drained", 3)
        assert await process.exit_code() == ExitCode.DRAINED


async def test_sigterm_drains() -> None:
    async with worker() as process:
        await process.next(Ready)
        await process.channel.send(start())
        await process.next(Chunk)
        process.popen.terminate()
        ended = await process.next(Ended)
        assert isinstance(ended, Ended)
        assert ended.reason == "drained"
        assert await process.exit_code() == ExitCode.DRAINED


async def test_the_parents_death_ends_it() -> None:
    async with worker() as process:
        await process.next(Ready)
        assert process.popen.stdin is not None
        process.popen.stdin.close()
        assert await process.exit_code() == ExitCode.ORPHANED


async def test_it_dies_with_a_parent_that_is_killed_even_if_it_is_stopped() -> None:
    endpoints = Endpoints.create()
    channel = ApiChannel(endpoints, LIMITS)
    settings = msgspec.structs.replace(SETTINGS, folder=str(endpoints.folder))
    parent_code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'service.worker.main'], stdin=subprocess.PIPE)\n"
        f"child.stdin.write({settings_to_json(settings)!r}); child.stdin.flush()\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent_code], stderr=subprocess.DEVNULL) as parent:
        process = Process(parent, channel)
        ready = await process.next(Ready)
        assert isinstance(ready, Ready)
        child = psutil.Process(ready.facts.pid)
        child.suspend()
        parent.kill()
        await asyncio.to_thread(psutil.wait_procs, [child], START_TIMEOUT)
        assert not child.is_running()
    channel.close()
    endpoints.remove()


async def test_a_fault_of_the_engine_is_said_and_ends_the_process() -> None:
    async with worker("fake-fault") as process:
        await process.next(Ready)
        await process.channel.send(start("break", credits=9))
        dead = await process.next(Dead)
        assert dead == Dead(code="engine_failed", message="RuntimeError: CUDA error: device-side assert triggered")
        assert await process.exit_code() == ExitCode.FAILED


@pytest.mark.parametrize(
    ("preset", "changes", "code", "said"),
    [
        ("fake-raise", {}, ExitCode.FAILED, Dead(code="engine_failed", message="RuntimeError: no such device")),
        (
            "unknown",
            {},
            ExitCode.REFUSED,
            Dead(code="model_unknown", message="expected a fake preset, got 'unknown'"),
        ),
        ("fake", {"generator": "no.such.module:load"}, ExitCode.REFUSED, None),
        ("fake-exit", {}, 42, None),
    ],
)
async def test_a_start_that_fails_says_why_and_exits_with_a_code(
    preset: str, changes: dict[str, object], code: int, said: Dead | None
) -> None:
    async with worker(preset, **changes) as process:
        if said is not None:
            assert await process.next(Dead) == said
        assert await process.exit_code() == code


async def test_sigterm_while_loading_ends_it_at_once() -> None:
    async with worker("fake-sleep") as process:
        await asyncio.to_thread(_until, lambda: _catches_sigterm(process.popen.pid))
        process.popen.terminate()
        assert await process.exit_code() == ExitCode.DRAINED


def test_settings_that_cannot_be_read_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service.worker.main"], input=b'{"preset": 3}\n', capture_output=True, timeout=60
    )
    assert done.returncode == ExitCode.REFUSED
    assert b"expected one line of settings" in done.stderr


def test_the_worker_has_no_web_framework_and_imports_no_asyncio_itself() -> None:
    code = (
        "import builtins, sys\n"
        "found, real = [], builtins.__import__\n"
        "def watch(name, globals=None, *rest, **more):\n"
        "    if name.split('.')[0] == 'asyncio' and globals:\n"
        "        found.append(globals.get('__name__', ''))\n"
        "    return real(name, globals, *rest, **more)\n"
        "builtins.__import__ = watch\n"
        "import service.worker.main, models.load\n"
        "ours = [name for name in found if name.split('.')[0] in ('service', 'models', 'cache')]\n"
        "web = [name for name in ('fastapi', 'starlette', 'uvicorn', 'websockets', 'zmq.asyncio', 'pydantic')"
        " if name in sys.modules]\n"
        "print(ours, web)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[] []"


def _catches_sigterm(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        caught = next(line for line in status if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + START_TIMEOUT
    while not condition():
        assert time.monotonic() < ends_at, "it did not happen in time"
        time.sleep(0.05)
