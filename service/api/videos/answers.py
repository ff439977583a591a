"""What REST says of jobs and batches: the objects that client libraries know, and what is Longtake's own beside it.

It knows jobs as values; nothing of requests or of how they are kept. Invariant: an answer is made of the job's row
alone, so every route says the same of it.
"""

from typing import Literal

from pydantic import BaseModel

from service.jobs.values import Batch, Job, JobStatus, TimedPrompt
from service.protocol.client import WeightedPrompt

MICRO = 6


class VideoError(BaseModel):
    """Why there is no video; the codes are those of all errors."""

    code: str
    message: str


class VideoPrompt(BaseModel):
    """One prompt of the timeline, as the engine gets it."""

    at: float
    prompt: str | None
    prompts: tuple[WeightedPrompt, ...] | None = None
    transition: int
    mode: str
    sink: str


class Video(BaseModel):
    """A job and what has become of it. Times are whole seconds since 1970.

    `session_id` names its session, once it has begun: it can be replayed, forked and gone on with live. `frames` is
    what the video has or will have. `waiting` says why it is queued again.
    """

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled"]
    progress: int
    created_at: int
    started_at: int | None
    completed_at: int | None
    expires_at: int | None
    prompt: str | None
    prompts: list[VideoPrompt]
    seconds: str
    size: str
    seed: int | None
    steps: int | None
    decoder: str | None
    format: str
    fps: float | None
    frames: int | None
    frames_made: int
    priority: int
    attempt: int
    remixed_from_video_id: str | None
    session_id: str | None
    batch_id: str | None
    custom_id: str | None
    metadata: dict[str, str]
    error: VideoError | None
    waiting: VideoError | None


class VideoList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(BaseModel):
    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool = True


class BatchCount(BaseModel):
    """How many of its jobs stand where."""

    total: int
    queued: int
    in_progress: int
    completed: int
    failed: int
    cancelled: int


class BatchObject(BaseModel):
    """A group of jobs with one status. Times are whole seconds since 1970."""

    id: str
    object: Literal["batch"] = "batch"
    status: Literal["in_progress", "completed", "cancelled"]
    counts: BatchCount
    created_at: int
    completed_at: int | None
    metadata: dict[str, str]


class BatchList(BaseModel):
    object: Literal["list"] = "list"
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


def video_of(job: Job, *, model: str, size: str) -> Video:
    """`model` and `size` are what the service makes where the job has not said."""
    asked = job.request
    width, height = job.width or asked.width, job.height or asked.height
    first = asked.timeline[0].prompts if asked.timeline else ()
    return Video(
        id=job.id,
        model=asked.model or model,
        status=job.status.value,
        progress=job.progress,
        created_at=int(job.created_at),
        started_at=_whole(job.started_at),
        completed_at=_whole(job.completed_at) if job.status is JobStatus.COMPLETED else None,
        expires_at=_whole(job.expires_at),
        prompt=first[0].text if first else None,
        prompts=[_prompt(entry) for entry in asked.timeline],
        seconds=_seconds(asked.seconds),
        size=f"{width}x{height}" if width and height else size,
        seed=asked.seed,
        steps=asked.steps,
        decoder=asked.decoder,
        format=asked.format,
        fps=job.fps,
        frames=job.frames,
        frames_made=job.frames_made,
        priority=asked.priority,
        attempt=job.attempt,
        remixed_from_video_id=asked.remixed_from,
        session_id=job.id if job.started_at is not None else None,
        batch_id=job.batch,
        custom_id=job.custom_id,
        metadata=dict(asked.metadata),
        error=_error(job),
        waiting=VideoError(code=job.waiting.code, message=job.waiting.message) if job.waiting else None,
    )


def batch_of(batch: Batch) -> BatchObject:
    counts = batch.counts
    return BatchObject(
        id=batch.id,
        status=batch.status.value,
        counts=BatchCount(**{name: getattr(counts, name) for name in BatchCount.model_fields}),
        created_at=int(batch.created_at),
        completed_at=_whole(batch.completed_at),
        metadata=dict(batch.metadata),
    )


def _error(job: Job) -> VideoError | None:
    if job.failure is None or job.status is not JobStatus.FAILED:
        return None
    return VideoError(code=job.failure.code, message=job.failure.message)


def _prompt(entry: TimedPrompt) -> VideoPrompt:
    alone = entry.prompts[0].text if len(entry.prompts) == 1 else None
    blend = tuple(WeightedPrompt(text=part.text, weight=part.weight) for part in entry.prompts)
    return VideoPrompt(
        at=entry.at,
        prompt=alone,
        prompts=None if alone is not None else blend,
        transition=entry.transition_chunks,
        mode=entry.mode,
        sink=entry.sink,
    )


def _seconds(value: float) -> str:
    return f"{value:.{MICRO}f}".rstrip("0").rstrip(".")


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
