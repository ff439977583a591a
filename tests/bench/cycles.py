"""Connections that come and go: `python -m tests.bench.cycles --cycles 10000`, with `--real` against a real worker.

Each connects, starts a session and leaves, in one of several ways, against the real app. The worker is a fake in this
process, or a process with a small model that is fast. Invariant it holds: afterwards no place, turn, connection,
task or object of a session is left. The last line is one JSON document.
"""

import argparse
import asyncio
import gc
import itertools
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import psutil

from service.api.http_routes import ApiState
from service.api.hub import SessionHub
from service.api.machine import Machine
from service.api.outbox import Outbox
from service.api.realtime import Connection
from service.api.replay import Replay
from service.api.server import Server
from service.api.worker_client import WorkerClient
from service.protocol import encode_message
from service.protocol.client import SessionStart, SessionStop
from service.protocol.server import ChunkMetadata, ErrorMessage, SessionDone, SessionQueued, VideoStart
from tests.bench import survival
from tests.service.api.running import FAST, PATIENCE, Talk, running

CONFIG = FAST.model_copy(update={"max_sessions": 4, "waiting_room": 8})
WAYS = ("at once", "when started", "after a chunk", "abort", "stop", "while waiting")
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Left:
    """What is still there when everybody has gone."""

    places: int
    turns: int
    connections: int
    worker_sessions: int
    tasks: int
    objects: int


class Service(Protocol):
    """What both kinds of service offer."""

    @property
    def client(self) -> WorkerClient: ...

    @property
    def state(self) -> ApiState: ...

    @property
    def server(self) -> Server: ...

    def connection(self) -> AbstractAsyncContextManager[Talk]: ...


async def cycle(service: Service, number: int) -> bool:
    """True if a session was seen to start."""
    way = WAYS[number % len(WAYS)]
    facts = service.client.facts
    assert facts is not None
    async with service.connection() as talk:
        await talk.socket.send(encode_message(SessionStart(model=facts.preset, prompt="a red ball", pacing="none")))
        if way == "at once":
            return False
        if way == "while waiting":
            heard = (await talk.hear_until(SessionQueued, VideoStart, ErrorMessage))[-1].message
            return isinstance(heard, VideoStart)
        if isinstance((await talk.hear_until(VideoStart, ErrorMessage))[-1].message, ErrorMessage):
            return False  # no place, nor a turn: those who were cut off keep theirs for a grace
        if way == "abort":
            talk.socket.transport.abort()
        elif way == "after a chunk":
            await talk.hear_until(ChunkMetadata, ErrorMessage)
        elif way == "stop":
            await talk.say(SessionStop())
            await talk.hear_until(SessionDone, ErrorMessage)
        return True


async def run(cycles: int) -> tuple[Left, dict[str, object]]:
    """What is left after so many cycles, and how long they took and how memory went."""
    async with running(CONFIG) as service:
        left, figures = await _cycle(service, cycles, forget=service.worker.worker.commands.clear)
        return replace(left, worker_sessions=len(service.worker.worker.sessions)), figures


async def run_real(cycles: int) -> tuple[Left, dict[str, object]]:
    """The same against a worker in a process of its own."""
    small = {"preset": "fast", "preset_dir": Path(__file__).parent / "presets"}
    config = survival.CONFIG.model_copy(
        update={**small, "max_sessions": 4, "waiting_room": 8, "resume_grace": 0.05, "message_rate": 1e6}
    )
    async with survival.serving(config) as service:
        left, figures = await _cycle(service, cycles, forget=lambda: None)
        async with asyncio.timeout(PATIENCE):  # a heartbeat that is older may have counted one more
            while (beat := service.client.heartbeat) is None or beat.sessions:
                await asyncio.sleep(0.05)
        return left, figures


async def _cycle(service: Service, cycles: int, *, forget: Callable[[], None]) -> tuple[Left, dict[str, object]]:
    process, known = psutil.Process(), _objects()
    await _some(service, 0, 2 * AT_ONCE)
    started = 0
    tasks, began = await _settled_tasks(service), time.monotonic()
    memory = [process.memory_info().rss]
    for quarter in range(4):
        started += await _some(service, quarter * cycles // 4, cycles // 4)
        forget()
        memory.append(process.memory_info().rss)
    seconds = time.monotonic() - began
    left_tasks = await _settled_tasks(service) - tasks
    left = Left(
        places=service.client.sessions,
        turns=service.client.waiting,
        connections=len(service.state.connections),
        worker_sessions=0,
        tasks=left_tasks,
        objects=_new_objects(known),
    )
    growth = [after - before for before, after in itertools.pairwise(memory)]
    memory_figures = {"rss_growth_bytes": sum(growth), "by_quarter": growth}
    return left, {"started": started, "seconds": round(seconds, 1), **memory_figures}


async def _some(service: Service, first: int, count: int) -> int:
    """How many sessions started."""
    numbers = iter(range(first, first + count))

    async def visitor() -> int:
        started = 0
        for number in numbers:
            async with asyncio.timeout(PATIENCE):
                started += await cycle(service, number)
        return started

    return sum(await asyncio.gather(*(visitor() for _ in range(AT_ONCE))))


async def _settled_tasks(service: Service) -> int:
    """The number of tasks once every place and connection is free."""
    async with asyncio.timeout(PATIENCE):
        server, hubs = service.server.server_state, service.state.hubs
        while service.client.sessions or service.client.waiting or server.connections or hubs.unheard:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    return len(asyncio.all_tasks())


def _objects() -> list[object]:
    gc.collect()
    # By their type: to ask some objects of torch for their class is a warning.
    kinds = Connection | Machine | Outbox | SessionHub | Replay | Talk
    return [thing for thing in gc.get_objects() if issubclass(type(thing), kinds)]


def _new_objects(known: list[object]) -> int:
    """Of this run: what earlier tests in this process left, if anything, is not its matter."""
    theirs = {id(thing) for thing in known}
    return sum(id(thing) not in theirs for thing in _objects())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--real", action="store_true")
    options = parser.parse_args()
    cycles: int = options.cycles
    left, figures = asyncio.run(run_real(cycles) if options.real else run(cycles))
    sys.stdout.write(json.dumps({"cycles": cycles, **figures, "left": asdict(left)}) + "\n")
    sys.exit(any(asdict(left).values()))


if __name__ == "__main__":
    main()
