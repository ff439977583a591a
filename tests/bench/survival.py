"""Workers killed or stopped at random moments: `python -m tests.bench.survival --kills 200 --stops 20`.

The real app, supervisor and worker process with the demo model's architecture (random weights); clients over real
sockets, with prompts given at seconds of media. Invariants it holds: the API stays; every session goes on to its end;
sequences are contiguous and every hash equals the undisturbed run's. The last line is one JSON document.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import connect

from service.api.app import REALTIME_PATH, create_app
from service.api.http_routes import ApiState
from service.api.server import Server, build_server
from service.api.worker_client import WorkerClient, WorkerState
from service.config import ServiceConfig
from service.protocol.client import SessionInteraction, SessionStart
from service.protocol.server import ChunkMetadata, ErrorMessage, SessionDone, SessionResumed
from service.store.store import SessionStore
from service.supervisor import Supervisor
from tests.service.api.running import MEMORY, Talk

HANG = 600.0
"""A guard against a hang: a worker takes seconds to start, many on a busy machine."""
CONFIG = ServiceConfig(
    port=0,
    random_weights=True,
    heartbeat_interval=0.2,
    heartbeat_timeout=5.0,
    worker_restarts=100,
    worker_restart_window=1.0,
    worker_restart_delay=0.01,
    worker_restart_delay_max=0.01,
    worker_stop_timeout=0.5,
    restart_patience=HANG,
    idle_timeout=HANG,
    answer_timeout=HANG,
    lease_seconds=HANG,
    max_sessions=8,
)


@dataclass(frozen=True, slots=True)
class Lived:
    """What one client heard: hashes by number, and how often its session went on with another worker."""

    hashes: tuple[str, ...]
    restarts: int


@dataclass(frozen=True, slots=True)
class Service:
    url: str
    client: WorkerClient
    state: ApiState
    server: Server

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Talk]:
        async with connect(self.url, max_size=None, max_queue=4, close_timeout=1) as socket:
            yield Talk(socket, patience=HANG)

    async def ready_pid(self) -> int:
        async with asyncio.timeout(HANG):
            await self.client.wait_for(WorkerState.READY)
        assert self.client.facts is not None
        return self.client.facts.pid


@asynccontextmanager
async def serving(config: ServiceConfig) -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, closing(SessionStore(Path(folder))) as store:
        config = config.model_copy(update={"store_dir": Path(folder)})
        client = WorkerClient(config)
        app = create_app(config, client, store=store)
        server = build_server(app, config)
        supervisor = Supervisor(config, client)
        tasks = [asyncio.create_task(server.serve()), asyncio.create_task(supervisor.run())]
        try:
            async with asyncio.timeout(HANG):
                await client.wait_for(WorkerState.READY)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Service(f"ws://127.0.0.1:{port}{REALTIME_PATH}", client, app.state.api, server)
        finally:
            server.should_exit = True
            await tasks[0]
            await supervisor.stop()
            await tasks[1]


async def live(service: Service, seed: int, *, seconds: float, came: asyncio.Event) -> Lived:
    """One session from its start to its end. A new prompt every third of it. `came` is set at each chunk."""
    start = SessionStart(prompt="a red ball in a meadow", seed=seed, format="raw", pacing="none", max_seconds=seconds)
    async with service.connection() as talk:
        await talk.say(start)
        for index, mode in ((1, "recache"), (2, "flush")):
            prompt = f"the sea at night, {index}"
            await talk.say(
                SessionInteraction.model_validate(
                    {"event_id": str(index), "prompt": prompt, "mode": mode, "at": index * seconds / 3}
                )
            )
        hashes: list[str] = []
        restarts = 0
        while True:
            message = (await talk.hear_until(ChunkMetadata, SessionResumed, SessionDone, ErrorMessage))[-1].message
            match message:
                case ChunkMetadata():
                    assert message.sequence == len(hashes), f"chunk {message.sequence} where {len(hashes)} was due"
                    hashes.append(message.frames_sha256)
                    came.set()
                case SessionResumed():
                    restarts += 1
                case _:
                    assert isinstance(message, SessionDone), message
                    return Lived(tuple(hashes), restarts)


async def disturb(service: Service, signals: list[signal.Signals], *, draw: random.Random, came: asyncio.Event) -> None:
    """One after the other, each to a worker that is ready and has worked for a random time.

    Three of four have made a chunk before: else a busy machine would never let a session get on.
    """
    for number in signals:
        pid = await service.ready_pid()
        if draw.random() < 0.75:
            came.clear()
            await came.wait()
        await asyncio.sleep(draw.uniform(0.0, 1.0))
        before = service.client.losses.total()
        if service.client.facts is not None and service.client.facts.pid == pid:
            os.kill(pid, number)
        async with asyncio.timeout(HANG):
            while service.client.losses.total() == before:
                await asyncio.sleep(0.01)


async def run(kills: int, stops: int, *, sessions: int = 2, seconds: float = 30.0, seed: int = 1) -> dict[str, float]:
    """Raises AssertionError where a session did not live on exactly."""
    draw = random.Random(seed)
    signals = [signal.SIGKILL] * kills + [signal.SIGSTOP] * stops
    draw.shuffle(signals)
    began, done, rounds, restarts, chunks = time.monotonic(), 0, 0, 0, 0
    async with serving(CONFIG) as service:
        came = asyncio.Event()
        alone = {number: await live(service, number, seconds=seconds, came=came) for number in range(sessions)}
        while done < len(signals):
            disturbing = asyncio.create_task(disturb(service, signals[done:], draw=draw, came=came))
            lost = service.client.losses.total()
            lives = await asyncio.gather(
                *(live(service, number, seconds=seconds, came=came) for number in range(sessions))
            )
            disturbing.cancel()
            await asyncio.gather(disturbing, return_exceptions=True)
            for number, lived in enumerate(lives):
                assert lived.hashes == alone[number].hashes, f"session {number} was made differently"
                restarts, chunks = restarts + lived.restarts, chunks + len(lived.hashes)
            done += service.client.losses.total() - lost
            rounds += 1
            sys.stderr.write(f"{done} of {len(signals)} signals, {rounds} rounds\n")
        figures = {"signals": service.client.losses.total(), "rounds": rounds, "resumed": restarts, "chunks": chunks}
    return {**figures, "seconds": round(time.monotonic() - began, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=2)
    options = parser.parse_args()
    figures = asyncio.run(run(options.kills, options.stops, sessions=options.sessions))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
