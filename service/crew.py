"""The workers of one machine: a supervisor each, that end together.

Knows supervisors and devices; nothing of processes or sessions. Invariants: a worker that is lost for good leaves the
others at work; sessions are told that no other comes only when none is left; on CUDA no two share a device.
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
        return asked

    async def stop(self) -> None:
        """Tells all to end. `run` returns after this."""
        await asyncio.gather(*(supervisor.stop() for supervisor in self._supervisors))

    def _is_last(self) -> bool:
        return self._left == 1


def member_config(config: ServiceConfig, number: int) -> ServiceConfig:
    """The settings of the worker with this number: each has a device of its own where the setting names none."""
    if config.workers == 1 or config.device not in ("auto", "cuda"):
        return config
    return config.model_copy(update={"device": f"{config.device}:{number}"})
