"""The service on Ray, on this machine: `python -m tests.bench.cluster`.

Two workers as actors with a small model, two API replicas under Ray Serve, Postgres; eight sessions over both. A worker
is killed, one more is added, and an API replica is killed. Invariants it holds: every session goes on, no frame and no
prompt that waits for its second is lost, and every hash is that of the same session undisturbed; new sessions use the
new worker. The last line is one JSON document.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import serve

from service.cluster.app import NAME, build
from service.cluster.directory import directory
from service.cluster.runtime import NAMESPACE, actor_names, named_actor
from service.config import ServiceConfig, load_config
from tests.bench.deployment import HANG, ROOT, SETTINGS, free_port, is_ready
from tests.bench.directed import SCHEDULE, Watched, watch
from tests.bench.rolling import LONGEST, compare
from tests.service.api.running import MEMORY
from tests.service.store.postgres import postgres


@contextlib.contextmanager
def cluster(config: ServiceConfig) -> Iterator[None]:
    """Ray and the service on it, in processes of this machine."""
    os.environ.update(RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0", RAY_DEDUP_LOGS="0", RAY_USAGE_STATS_ENABLED="0")
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ray.init(
        num_cpus=16,
        include_dashboard=False,
        log_to_driver=False,
        namespace=NAMESPACE,
        object_store_memory=100_000_000,
        runtime_env={"env_vars": environment},
    )
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": config.port})
        serve.run(build(config), name=NAME, route_prefix="/")
        yield
    finally:
        for name in actor_names():
            actor = named_actor(name)
            if actor is not None:
                ray.kill(actor)
        serve.shutdown()
        ray.shutdown()


async def until_workers(config: ServiceConfig, count: int) -> list[str]:
    """Until so many have loaded their model and take sessions."""
    async with asyncio.timeout(HANG):
        while True:
            names = [name for name in actor_names() if name.startswith("worker-")]
            if len([name for name in names if await _is_ready(name)]) == count and is_ready(config.port):
                return sorted(names)
            await asyncio.sleep(0.2)


async def _is_ready(name: str) -> bool:
    actor = named_actor(name)
    return actor is not None and (await _state(actor))["ready"]


async def _state(actor: Any) -> dict[str, Any]:
    try:
        async with asyncio.timeout(10.0):
            found: dict[str, Any] = await actor.state.remote()
            return found
    except (ray.exceptions.RayError, TimeoutError):
        return {"ready": False, "sessions": 0, "pid": 0}


async def spread(names: list[str]) -> dict[str, int]:
    """Live sessions by worker."""
    return {name: (await _state(named_actor(name)))["sessions"] for name in names}


def replicas() -> list[int]:
    """The processes of the API."""
    ours = psutil.Process().children(recursive=True) + _of_raylet()
    return sorted({process.pid for process in ours if f"ServeReplica:{NAME}" in " ".join(process.cmdline())})


def _of_raylet() -> list[psutil.Process]:
    """Ray's processes are no children of this one."""
    node = ray.get_runtime_context().get_node_id()
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "raylet" and node in " ".join(process.cmdline()):
                found += process.children(recursive=True)
        except psutil.Error:
            continue  # it has ended meanwhile
    return found


async def disturbed(config: ServiceConfig, *, sessions: int) -> dict[str, Any]:
    """What happened, step by step."""
    told: dict[str, Any] = {}
    names = await until_workers(config, 2)
    everyone = [Watched(seed, schedule=SCHEDULE) for seed in range(sessions)]
    watching = [asyncio.create_task(watch(one, config.port, seconds=LONGEST)) for one in everyone]
    await asyncio.gather(*(one.more(2) for one in everyone))
    told["spread"] = sorted((await spread(names)).values())
    victim = await _state(named_actor(names[0]))
    os.kill(victim["pid"], signal.SIGKILL)
    await asyncio.gather(*(one.more(4) for one in everyone))
    names = await until_workers(config, 2)  # another took its place
    told["after_worker_killed"] = sum((await spread(names)).values())
    await directory(config).set_least.remote(3)
    names = await until_workers(config, 3)
    newcomers = [Watched(100 + number, schedule=SCHEDULE) for number in range(4)]
    watching += [asyncio.create_task(watch(one, config.port, seconds=LONGEST)) for one in newcomers]
    await asyncio.gather(*(one.more(2) for one in newcomers))
    told["used_when_added"] = (await spread(names))[names[-1]]
    everyone += newcomers
    before = replicas()
    os.kill(before[0], signal.SIGKILL)
    await asyncio.gather(*(one.more(4) for one in everyone))
    told["replicas"] = len(before)
    for one in everyone:
        assert one.session is not None
        await one.session.stop()
    await asyncio.gather(*watching)
    told["resumed"] = sum(one.lost for one in everyone)
    told["worker_restarts"] = sum(one.worker_restarts for one in everyone)
    told["blocks"] = sum(len(one.video) for one in everyone)
    told["missing"] = sum(one.missing + one.gaps for one in everyone)
    told["prompts_lost"] = sum(one.prompts_lost for one in everyone)
    told["prompts"] = sum(switch.applied_at is not None for one in everyone for switch in one.switches)
    told["different"] = await compare(everyone, config.port)
    return told


def settings(folder: Path, url: str, *, sessions: int) -> ServiceConfig:
    mine = {
        "port": free_port(),
        "store_dir": folder,
        "store_url": url,
        "max_seconds": LONGEST,
        "max_sessions": sessions,
        "cluster_workers": 2,
        "cluster_look_interval": 0.5,
        "cluster_idle_seconds": 3600,
        "cluster_late_share": 1.0,
        "worker_restarts": 0,
    }
    return load_config({**SETTINGS, **mine}, environment={})


def run(sessions: int) -> dict[str, Any]:
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        config = settings(folder, stack.enter_context(postgres()).new_database(), sessions=sessions)
        stack.enter_context(cluster(config))
        figures = asyncio.run(disturbed(config, sessions=sessions))
    return {**figures, "seconds": round(time.monotonic() - began, 1), "load": os.getloadavg()[0]}


def right(figures: dict[str, Any], *, sessions: int) -> bool:
    """What the figures of a run have to be."""
    spread_over_both = len(figures["spread"]) == 2 and min(figures["spread"]) > 0
    counts = (figures["after_worker_killed"], figures["different"], figures["missing"], figures["prompts_lost"])
    moved = figures["worker_restarts"] > 0 and figures["resumed"] > 0 and figures["used_when_added"] > 0
    return spread_over_both and moved and counts == (sessions, 0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=8)
    options = parser.parse_args()
    figures = run(options.sessions)
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.exit(not right(figures, sessions=options.sessions))


if __name__ == "__main__":
    main()
