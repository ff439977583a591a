"""Which workers a cluster has: starts them, as many as the load wants, and tells API processes their names.

An actor of its own, one in a cluster. It knows Ray's actors and the scaling; nothing of sessions but their number.
Invariants: a worker that is gone is replaced; one that has sessions is not ended for want of load; what it knows it
learns again after a restart, from the actors that are there.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from service.cluster.runtime import NAMESPACE, actor_names, failures, is_passing, named_actor
from service.cluster.scaling import Bounds, Load, Scaling
from service.cluster.worker import WorkerActor
from service.config import ServiceConfig
from service.supervisor import DEFAULT_LOADER

logger = logging.getLogger(__name__)

DIRECTORY = "directory"
_PREFIX = "worker-"
_STALE = 10.0
"""Reports of an API process that is silent for longer no longer count; times the look interval."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one API process says of itself."""

    waiting: int
    chunks: int
    late: int
    at: float = 0.0


class Directory:
    """`directory(config)` finds or starts it."""

    def __init__(self, config: ServiceConfig, loader: str = DEFAULT_LOADER) -> None:
        self._config = config
        self._loader = loader
        self._reports: dict[str, Report] = {}
        self._workers: dict[str, Any] = {}
        self._next = 0
        self._scaling = self._scaling_for(config.cluster_workers)
        self._find_again()
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    def _find_again(self) -> None:
        for name in [name for name in actor_names() if name.startswith(_PREFIX)]:
            self._next = max(self._next, int(name.removeprefix(_PREFIX)) + 1)
            actor = named_actor(name)
            if actor is not None:
                self._workers[name] = actor

    async def report(self, peer: str, report: Report) -> list[str]:
        """An API process tells how it goes; the names of the workers."""
        self._reports[peer] = Report(report.waiting, report.chunks, report.late, time.monotonic())
        return sorted(self._workers)

    async def set_least(self, workers: int) -> None:
        """By hand: as if the setting `cluster_workers` were this."""
        self._scaling = self._scaling_for(workers)

    def _scaling_for(self, least: int) -> Scaling:
        config = self._config
        return Scaling(
            Bounds(
                least=least,
                most=max(least, config.cluster_workers_max),
                places=config.max_sessions,
                late_share=config.cluster_late_share,
                idle_seconds=config.cluster_idle_seconds,
            )
        )

    async def _keep(self) -> None:
        while True:
            sessions = await self._look()
            load = self._load(sum(sessions.values()))
            wanted = self._scaling.wanted(load, workers=len(self._workers), now=time.monotonic())
            while len(self._workers) < wanted:
                self._start()
            if len(self._workers) > wanted:
                await self._end_one(sessions)
            await asyncio.sleep(self._config.cluster_look_interval)

    def _load(self, sessions: int) -> Load:
        now, limit = time.monotonic(), _STALE * self._config.cluster_look_interval
        self._reports = {peer: report for peer, report in self._reports.items() if now - report.at < limit}
        reports = self._reports.values()
        return Load(
            sessions=sessions,
            waiting=sum(report.waiting for report in reports),
            chunks=sum(report.chunks for report in reports),
            late=sum(report.late for report in reports),
        )

    async def _look(self) -> dict[str, int]:
        """Live sessions by worker. One that is gone for good is forgotten; one that Ray starts again is not."""
        sessions: dict[str, int] = {}
        for name, actor in list(self._workers.items()):
            try:
                async with asyncio.timeout(self._config.heartbeat_timeout):
                    sessions[name] = (await actor.state.remote())["sessions"]
            except failures() as error:
                if is_passing(error):
                    sessions[name] = 0
                    continue
                logger.warning("%s is gone: %s", name, type(error).__name__)
                del self._workers[name]
        return sessions

    def _start(self) -> None:
        import ray

        config, name = self._config, f"{_PREFIX}{self._next}"
        self._next += 1
        logger.info("%s is started", name)
        self._workers[name] = (
            ray.remote(WorkerActor)
            .options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                num_cpus=config.cluster_worker_cpus,
                num_gpus=config.cluster_worker_gpus,
                max_restarts=0,  # a new one is started from here, on whatever node has room
                max_concurrency=1000,
            )
            .remote(config, self._loader)
        )

    async def _end_one(self, sessions: dict[str, int]) -> None:
        idle = [name for name in sorted(sessions) if sessions[name] == 0]
        if not idle:
            return
        actor = self._workers.pop(idle[-1])
        logger.info("%s is ended", idle[-1])
        try:
            await actor.stop.remote()
        except failures() as error:
            logger.info("%s is gone already: %s", idle[-1], type(error).__name__)


def directory(config: ServiceConfig, loader: str = DEFAULT_LOADER) -> Any:
    """The handle of the cluster's directory."""
    import ray

    options = {"name": DIRECTORY, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    return ray.remote(Directory).options(**options, num_cpus=0, max_restarts=-1).remote(config, loader)
