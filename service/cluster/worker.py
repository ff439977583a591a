"""A worker as a Ray actor: the worker's process, supervised here, shared among the API processes.

It knows the supervisor and the share; nothing of sessions or torch, which is in the process below. Invariants: one
worker to an actor, with the devices that Ray gave it; an actor whose worker is lost for good ends, for another to be
started elsewhere.
"""

import asyncio
import logging
import os

from service import ipc
from service.cluster.share import Share, ShareLimits
from service.config import ServiceConfig
from service.supervisor import DEFAULT_LOADER, Supervisor

logger = logging.getLogger(__name__)


class WorkerActor:
    """`ray.remote(WorkerActor)`; its methods are called by `RayLink` and `Directory`."""

    def __init__(self, config: ServiceConfig, loader: str = DEFAULT_LOADER) -> None:
        self._share = Share(
            ShareLimits(
                places=config.max_sessions, waiting=config.channel_messages, silence=2 * config.heartbeat_timeout
            )
        )
        self._supervisor = Supervisor(config, self._share, loader=loader)
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        await self._supervisor.run()
        logger.error("this actor has no worker any more: %s", self._share.loss)
        os._exit(0)  # Ray tells everybody that it is gone, and the directory starts another

    async def join(self, peer: str) -> int:
        return self._share.join(peer)

    async def hear(self, peer: str, *, generation: int, timeout: float) -> list[list[bytes]]:
        return [ipc.encode(event) for event in await self._share.hear(peer, generation=generation, timeout=timeout)]

    async def tell(self, peer: str, parts: list[bytes], *, generation: int) -> None:
        await self._share.tell(peer, ipc.decode_command(parts), generation=generation)

    async def state(self) -> dict[str, int]:
        """Whether it takes sessions, how many it has, and the process of this actor."""
        share = self._share
        return {"ready": share.ready, "sessions": share.live_sessions, "pid": os.getpid()}

    async def stop(self) -> None:
        """Ends the worker in order."""
        await self._supervisor.stop()
