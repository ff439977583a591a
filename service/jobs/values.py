"""A batch job as a value: what is asked for, what has become of it, and what it tells those who wait.

Knows nothing of SQL, files, the web or the engine. Invariants: a request is whole and stays as it was accepted, its
seed included, so that a job makes the same frames however often it is begun; the number of a job's state only grows,
and a state that is terminal is its last.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

Mode = Literal["recache", "flush", "cut", "keep"]
Sink = Literal["keep", "refresh"]
Order = Literal["asc", "desc"]
Variant = Literal["video", "thumbnail", "spritesheet"]
NO_METADATA: Mapping[str, str] = MappingProxyType({})


class JobStatus(StrEnum):
    """`queued`: not in the engine now, also between two attempts."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class BatchStatus(StrEnum):
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class WeightedText:
    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPrompt:
    """What the video is to show from second `at` on: from the first block that begins at or after it."""

    at: float
    prompts: tuple[WeightedText, ...]
    mode: Mode = "recache"
    sink: Sink = "keep"
    transition_chunks: int = 0


@dataclass(frozen=True, slots=True)
class AdapterScale:
    name: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a job is to make. Its video has round(`seconds` x the model's fps) frames.

    `timeline` begins at 0 and rises. None for model, size, seed, steps, decoder: the service's own; the job's stored
    request then has what was chosen for `model` and `seed`.
    """

    timeline: tuple[TimedPrompt, ...]
    seconds: float
    model: str | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    steps: int | None = None
    decoder: str | None = None
    format: Literal["mp4"] = "mp4"
    adapters: tuple[AdapterScale, ...] | None = None
    priority: int = 0
    """Larger: sooner."""
    remixed_from: str | None = None
    webhook_url: str | None = None
    notes: tuple[str, ...] = ()
    """JSON objects with a `type`, for the session's record: what hooks made of the prompts."""
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)

    def to_text(self) -> str:
        """One JSON object, without what is as it is by default."""
        said = {"timeline": [asdict(entry) for entry in self.timeline], "seconds": self.seconds}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in said or value is None or value == item.default or not (value or isinstance(value, int)):
                continue
            said[item.name] = _plain(value)
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `to_text` wrote."""
        said: dict[str, Any] = json.loads(text)
        said["timeline"] = tuple(_timed(entry) for entry in said["timeline"])
        if "adapters" in said:
            said["adapters"] = tuple(AdapterScale(**adapter) for adapter in said["adapters"])
        if "notes" in said:
            said["notes"] = tuple(said["notes"])
        if "metadata" in said:
            said["metadata"] = MappingProxyType(said["metadata"])
        return cls(**said)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, AdapterScale):
        return asdict(value)
    return dict(value) if isinstance(value, Mapping) else value


def _timed(said: dict[str, Any]) -> TimedPrompt:
    return TimedPrompt(**{**said, "prompts": tuple(WeightedText(**prompt) for prompt in said["prompts"])})


@dataclass(frozen=True, slots=True)
class Idempotency:
    """`key` is the client's, `fingerprint` a digest of all that it asked for with it."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed: a code of the registry, and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as it stands. Times are seconds since 1970. Its session in the store has the same id."""

    id: str
    tenant: str
    status: JobStatus
    request: JobRequest
    created_at: float
    key_id: str | None = None
    started_at: float | None = None
    """When it first came into the engine."""
    completed_at: float | None = None
    expires_at: float | None = None
    """When its files are deleted; None while it is not terminal."""
    failure: JobFailure | None = None
    waiting: JobFailure | None = None
    """Why it is queued again: the last attempt's trouble, which is not the end of it."""
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    frames: int | None = None
    """That the video is to have; None before the engine has begun it."""
    frames_made: int = 0
    blocks: int = 0
    attempt: int = 0
    losses: int = 0
    """Workers that were lost while they made it."""
    engine_seconds: float = 0.0
    """Of the device, for accounts."""
    batch: str | None = None
    custom_id: str | None = None
    version: int = 0
    """Grows with every change of the job."""

    @property
    def progress(self) -> int:
        """Per cent, 100 only once it is completed."""
        if self.status is JobStatus.COMPLETED:
            return 100
        return min(99, self.frames_made * 100 // self.frames) if self.frames else 0


@dataclass(frozen=True, slots=True)
class JobPage:
    jobs: tuple[Job, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class JobEvent:
    """`id` is the job's version, `type` its status. Some of those in between may be left out; the last never."""

    id: int
    type: str
    job: Job


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file of a finished job. `etag` is the SHA-256 of its bytes."""

    path: Path
    etag: str
    bytes: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    request: JobRequest
    custom_id: str | None = None
    opening: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    queued: int = 0
    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.queued + self.in_progress + self.completed + self.failed + self.cancelled

    @property
    def open(self) -> int:
        return self.queued + self.in_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A group of jobs with one status: in progress while one of them is."""

    id: str
    tenant: str
    status: BatchStatus
    counts: BatchCounts
    created_at: float
    completed_at: float | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
