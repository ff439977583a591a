"""What becomes of a request for a video: read, completed, judged, and handed to the queue.

It knows the parts, each of which does one of these; nothing of routes. Invariants: nothing is kept of a request that is
refused; what is answered has been kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fastapi import Request

from service import ipc
from service.access.principal import Principal
from service.api.videos.answers import Video
from service.api.videos.asking import (
    VideoRequest,
    job_request,
    parse_remix,
    parse_request,
    timed_prompts,
    timeline_of,
)
from service.api.videos.bodies import Body, Uploads
from service.api.videos.events import EventStreams
from service.api.videos.prompting import through_hooks
from service.api.videos.references import References
from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError
from service.hooks import PromptHooks
from service.jobs.desk import JobService
from service.jobs.values import Idempotency, Job, JobRequest
from service.outbound.fetching import Outbound

KEY_HEADER = "Idempotency-Key"
_MOST_KEY_CHARS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDesk:
    """`facts`: those of the engine, None while there is none. `said`: a job as every route says it."""

    config: ServiceConfig
    jobs: JobService
    hooks: PromptHooks
    outbound: Outbound
    references: References
    uploads: Uploads
    streams: EventStreams
    facts: Callable[[], ipc.Facts | None]
    said: Callable[[Job], Video]

    async def create(self, principal: Principal, request: Request) -> Video:
        """Raises ProtocolError or SessionError."""
        key = idempotency_key(request)
        body = await self.uploads.job(request)
        asked = parse_request(body.fields, self.config)
        job = await self.prepared(principal, asked)
        opening = await self.references.take(asked.input_reference, body.file)
        made = await self.jobs.create(
            principal, job, opening=opening, idempotency=_idempotency(key, body, "POST /v1/videos")
        )
        return self.said(made)

    async def remix(self, principal: Principal, video: str, *, request: Request) -> Video:
        """The video of another job under other prompts. Raises ProtocolError or SessionError."""
        key = idempotency_key(request)
        body = await self.uploads.job(request)
        if body.file is not None:
            raise ProtocolError(ErrorCode.FORM_INVALID, "A remix begins as the video does.", field="input_reference")
        asked = parse_remix(body.fields)
        source = await self.jobs.get(principal, video)
        entries = timeline_of(asked, self.config, seconds=source.request.seconds)
        job = replace(source.request, timeline=timed_prompts(entries), remixed_from=video, webhook_url=None, notes=())
        job = await self._through_hooks(principal, job)
        opening = await self.jobs.opening(principal, video)
        place = f"POST /v1/videos/{video}/remix"
        made = await self.jobs.create(principal, job, opening=opening, idempotency=_idempotency(key, body, place))
        return self.said(made)

    async def prepared(self, principal: Principal, asked: VideoRequest) -> JobRequest:
        """The job that a request comes to, but for what it begins with. Raises ProtocolError."""
        facts = self.facts()
        if asked.model is not None and facts is not None and asked.model != facts.preset:
            message = f"The model {asked.model[:64]!r} is not loaded."
            raise ProtocolError(ErrorCode.MODEL_UNKNOWN, message, field="model", expected=facts.preset)
        entries = timeline_of(asked, self.config, seconds=float(asked.seconds))
        if asked.webhook_url is not None:
            await self.outbound.vet(asked.webhook_url, field="webhook_url")
        return await self._through_hooks(principal, job_request(asked, timed_prompts(entries)))

    async def _through_hooks(self, principal: Principal, job: JobRequest) -> JobRequest:
        timeline, notes = await through_hooks(job.timeline, self.hooks, tenant=principal.tenant, model=job.model or "")
        return replace(job, timeline=timeline, notes=notes)


def idempotency_key(request: Request) -> str | None:
    """Raises ProtocolError for a key that is none."""
    key = request.headers.get(KEY_HEADER)
    if key is not None and not (0 < len(key) <= _MOST_KEY_CHARS and key.isascii() and key.isprintable()):
        raise ProtocolError(
            ErrorCode.FIELD_RANGE,
            "The Idempotency-Key is no key.",
            field=KEY_HEADER,
            expected=f"1 to {_MOST_KEY_CHARS} printable characters of ASCII",
        )
    return key


def _idempotency(key: str | None, body: Body, place: str) -> Idempotency | None:
    return None if key is None else Idempotency(key, body.fingerprint(place))
