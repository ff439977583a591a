"""Connections that come and go: `python -m tests.bench.cycles --cycles 10000`.

Each connects, starts a session and leaves, in one of several ways, against the real app with the fake worker.
Invariant it holds: afterwards no place, turn, connection, task or object of a session is left. The last line is
one JSON document.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from dataclasses import asdict, dataclass

import psutil

from service.api.hub import SessionHub
from service.api.machine import Machine
from service.api.outbox import Outbox
from service.api.realtime import Connection
from service.api.replay import Replay
from service.protocol import encode_message
from service.protocol.client import SessionStart, SessionStop
from service.protocol.server import ChunkMetadata, ErrorMessage, SessionDone, SessionQueued, VideoStart
from tests.service.api.running import FAST, PATIENCE, Running, Talk, running

CONFIG = FAST.model_copy(update={"max_sessions": 4, "waiting_room": 8})
START = SessionStart(prompt="a lighthouse", pacing="none")
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


async def cycle(service: Running, number: int) -> None:
    way = WAYS[number % len(WAYS)]
    async with service.connection() as talk:
        await talk.socket.send(encode_message(START))
        if way == "at once":
            return
        if way == "while waiting":
            await talk.hear_until(SessionQueued, VideoStart, ErrorMessage)
            return
        if isinstance((await talk.hear_until(VideoStart, ErrorMessage))[-1].message, ErrorMessage):
            return  # no place, nor a turn: those who were cut off keep theirs for a grace
        if way == "abort":
            talk.socket.transport.abort()
        elif way == "after a chunk":
            await talk.hear_until(ChunkMetadata, ErrorMessage)
        elif way == "stop":
            await talk.say(SessionStop())
            await talk.hear_until(SessionDone, ErrorMessage)


async def run(cycles: int) -> tuple[Left, dict[str, float]]:
    """What is left after so many cycles, and how long they took and how memory went."""
    process = psutil.Process()
    async with running(CONFIG) as service:
        await _some(service, 0, 2 * AT_ONCE)
        tasks, memory, began = await _settled_tasks(service), process.memory_info().rss, time.monotonic()
        await _some(service, 0, cycles)
        seconds = time.monotonic() - began
        left_tasks = await _settled_tasks(service) - tasks
        service.worker.worker.commands.clear()
        left = Left(
            places=service.client.sessions,
            turns=service.client.waiting,
            connections=len(service.state.connections),
            worker_sessions=len(service.worker.worker.sessions),
            tasks=left_tasks,
            objects=_objects(),
        )
        return left, {"seconds": round(seconds, 1), "rss_growth_bytes": process.memory_info().rss - memory}


async def _some(service: Running, first: int, count: int) -> None:
    numbers = iter(range(first, first + count))

    async def visitor() -> None:
        for number in numbers:
            async with asyncio.timeout(PATIENCE):
                await cycle(service, number)

    async with asyncio.TaskGroup() as visitors:
        for _ in range(AT_ONCE):
            visitors.create_task(visitor())


async def _settled_tasks(service: Running) -> int:
    """The number of tasks once every place and connection is free."""
    async with asyncio.timeout(PATIENCE):
        while service.client.sessions or service.client.waiting or service.server.server_state.connections:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    return len(asyncio.all_tasks())


def _objects() -> int:
    gc.collect()
    # By their type: to ask some objects of torch for their class is a warning.
    kinds = Connection | Machine | Outbox | SessionHub | Replay | Talk
    return sum(issubclass(type(thing), kinds) for thing in gc.get_objects())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=10_000)
    cycles: int = parser.parse_args().cycles
    left, figures = asyncio.run(run(cycles))
    sys.stdout.write(json.dumps({"cycles": cycles, **figures, "left": asdict(left)}) + "\n")
    sys.exit(any(asdict(left).values()))


if __name__ == "__main__":
    main()
