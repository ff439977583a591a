"""What makes videos and tells of them, for as long as the service runs.

It knows the queue and the webhooks; nothing of the worker's process. Invariant: both end together; a job that is under
way then goes on where it was when the next server starts.
"""

import asyncio
from dataclasses import dataclass

from service.api.videos.webhooks import Webhooks
from service.jobs.jobs import Jobs


@dataclass(frozen=True, slots=True)
class Making:
    jobs: Jobs
    webhooks: Webhooks

    async def run(self) -> None:
        """Until `stop`."""
        telling = asyncio.create_task(self.webhooks.run(), name="webhooks")
        try:
            await self.jobs.run()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def stop(self) -> None:
        await self.jobs.stop()
