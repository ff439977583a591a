"""An API process's view of the cluster's workers: it asks the directory which there are, and serves a link to each.

It knows the directory's words, links and the worker client; nothing of the web. Invariants: one link to a worker at a
time; a link that is lost is tried again for as long as the directory names the worker.
"""

import asyncio
import logging
from typing import Any

from service.api.worker_client import WorkerClient
from service.cluster.directory import Report
from service.cluster.link import RayLink
from service.cluster.runtime import failures, named_actor
from service.config import ServiceConfig

logger = logging.getLogger(__name__)


class Peers:
    """`peer` is this process's name; `find` gives the directory's handle, again if it was lost."""

    def __init__(self, config: ServiceConfig, client: WorkerClient, *, directory: Any, peer: str) -> None:
        self._config = config
        self._client = client
        self._directory = directory
        self._peer = peer
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._told = (0, 0)
        """Chunks and late chunks that the directory has been told of."""

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(self._config.cluster_look_interval)
        finally:
            for task in self._serving.values():
                task.cancel()
            await asyncio.gather(*self._serving.values(), return_exceptions=True)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(self._config.heartbeat_timeout):
                names = await self._directory.report.remote(self._peer, self._report())
        except failures() as error:
            logger.warning("the directory does not answer: %s", type(error).__name__)
            return
        for name in names:
            task = self._serving.get(name)
            if task is None or task.done():
                self._serving[name] = asyncio.create_task(self._serve(name), name=f"serve-{name}")
        for name in [name for name, task in self._serving.items() if task.done() and name not in names]:
            del self._serving[name]

    def _report(self) -> Report:
        chunks, late = self._client.chunks, self._client.late_chunks
        report = Report(self._client.waiting, chunks - self._told[0], late - self._told[1])
        self._told = (chunks, late)
        return report

    async def _serve(self, name: str) -> None:
        """One start of the worker."""
        actor = named_actor(name)
        link = None if actor is None else await RayLink.join(actor, self._peer)
        if link is not None:
            await self._client.serve(link)
