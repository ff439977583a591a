"""The parts of batch jobs over REST, put together.

It knows every part by its name and does nothing with them. Invariant: what a setting names that cannot be had (a hook,
a list of words, a network) is found here, before the service starts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter

from service import ipc
from service.api.videos.answers import Video, video_of
from service.api.videos.batch_desk import BatchDesk
from service.api.videos.batch_routes import batch_routes
from service.api.videos.bodies import Uploads
from service.api.videos.desk import VideoDesk
from service.api.videos.events import EventStreams
from service.api.videos.references import References
from service.api.videos.routes import video_routes
from service.api.videos.webhook_routes import webhook_routes
from service.api.videos.webhooks import Webhooks
from service.config import ServiceConfig
from service.hooks import PromptHooks
from service.hooks.prompting import nobody_counts
from service.jobs.desk import JobService
from service.jobs.values import Job
from service.outbound.fetching import Outbound
from service.store.webhooks import WebhookBook
from service.uploads.checking import Check

FactsNow = Callable[[], ipc.Facts | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoParts:
    """What the routes of videos need besides the queue. `facts`: those of the engine, None while there is none."""

    config: ServiceConfig
    hooks: PromptHooks
    outbound: Outbound
    check: Check
    facts: FactsNow

    def said(self, job: Job) -> Video:
        """A job as every route, event and webhook says it."""
        facts = self.facts()
        size = f"{facts.width}x{facts.height}" if facts is not None else ""
        return video_of(job, model=facts.preset if facts is not None else self.config.preset, size=size)

    def webhooks(self, book: WebhookBook, counted: Callable[[str], None] = nobody_counts) -> Webhooks:
        """`on_terminal` and `wake` are for the queue; somebody has to `run` it."""
        return Webhooks(config=self.config, book=book, outbound=self.outbound, said=self.said, counted=counted)

    def desk(self, jobs: JobService) -> VideoDesk:
        return VideoDesk(
            config=self.config,
            jobs=jobs,
            hooks=self.hooks,
            outbound=self.outbound,
            references=References(config=self.config, outbound=self.outbound, check=self.check),
            uploads=Uploads(self.config),
            streams=EventStreams(self.config),
            facts=self.facts,
            said=self.said,
        )

    def routers(self, jobs: JobService, webhooks: Webhooks) -> tuple[APIRouter, ...]:
        """`/v1/videos`, `/v1/batches` and `/v1/webhooks`."""
        desk = self.desk(jobs)
        return video_routes(desk), batch_routes(BatchDesk(desk)), webhook_routes(webhooks)
