"""The workers of one machine: a supervisor each, that end together.

Knows supervisors and devices; nothing of processes or sessions. Invariants: a worker that is lost for good leaves the
others at work; sessions are told that no other comes only when none is left; on CUDA no two share a device; a GPU that
is fenced gets no worker again.
"""

import asyncio
import logging

from service.api.worker_client import WorkerClient
from service.config import ServiceConfig
from service.supervisor import DEFAULT_LOADER, Supervisor

logger = logging.getLogger(__name__)


class Crew:
    def __init__(self, config: ServiceConfig, client: WorkerClient, *, loader: str = DEFAULT_LOADER) -> None:
        self._client = client
        self._supervisors = [
            Supervisor(member_config(config, number), client, loader=loader, is_last=self._is_last)
            for number in range(config.workers)
        ]
        self._left = len(self._supervisors)
        self._over = asyncio.Event()
        """Nothing is waited for any more: it was asked for, or the last worker was lost without a fenced GPU."""

    async def run(self) -> bool:
        """Until `stop` is called (True), or the last worker is lost for good (False). Raises as `Supervisor.run`."""
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._run(supervisor)) for supervisor in self._supervisors]
        return any(task.result() for task in running)

    async def _run(self, supervisor: Supervisor) -> bool:
        asked = await supervisor.run()
        self._left -= 1
        if not asked and self._left:
            logger.error("%d workers are left", self._left)
        if supervisor.fenced and not asked:
            # The process stays, not ready, with the reason: it keeps the GPU from being given to somebody else.
            await self._over.wait()
        elif not self._left:
            self._over.set()
        return asked

    async def stop(self) -> None:
        """Tells all to end. `run` returns after this."""
        self._over.set()
        await asyncio.gather(*(supervisor.stop() for supervisor in self._supervisors))

    @property
    def members(self) -> tuple[Supervisor, ...]:
        return tuple(self._supervisors)

    def replace(self, gpu: str, reason: str) -> None:
        """The worker on this GPU is lost, and another is started there."""
        for supervisor in self._on(gpu):
            supervisor.replace(reason)

    def fence(self, gpu: str, reason: str) -> None:
        """The worker on this GPU is lost, and no other is started there."""
        for supervisor in self._on(gpu):
            if not supervisor.fenced:
                self._client.fenced_gpus += 1
            supervisor.fence(reason)

    def _on(self, gpu: str) -> list[Supervisor]:
        return [supervisor for supervisor in self._supervisors if supervisor.gpu == gpu]

    def _is_last(self) -> bool:
        return self._left == 1


def member_config(config: ServiceConfig, number: int) -> ServiceConfig:
    """The settings of the worker with this number: each has a device of its own where the setting names none."""
    if config.workers == 1 or config.device not in ("auto", "cuda"):
        return config
    return config.model_copy(update={"device": f"{config.device}:{number}"})
