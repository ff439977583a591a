"""A video that is made as a job: what is asked for, and what the server says of it.

Knows the fields of the REST; nothing of HTTP. Invariants: a Video is what one answer of the server said; fields
that are missing or of another type are a ProtocolViolation, those that are not known here are passed over.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from client.errors import ProtocolViolation
from client.requests import Model, Prompt, PromptChange

VideoStatus = Literal["queued", "in_progress", "completed", "failed", "cancelled"]
Variant = Literal["video", "thumbnail", "spritesheet"]
TERMINAL: frozenset[VideoStatus] = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """How a video is made. What is None is the server's or the model's own.

    Args:
        size: width and height in pixels.
        picture: a picture or clip to begin with: a file, or its bytes.
        priority: from -10 to 10; the larger is sooner.
        idempotency_key: the same key with the same request is the same job, however often it is asked for; by default
            every `create` has one of its own, so that it can be tried again.
    """

    model: str | Model | None = None
    seed: int | None = None
    size: tuple[int, int] | None = None
    picture: Path | bytes | None = field(default=None, repr=False)
    steps: int | None = None
    decoder: str | None = None
    priority: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class VideoFault:
    """Why a video failed, or is queued again."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """Times are seconds since 1970. `answer` has all that the server said."""

    id: str
    status: VideoStatus
    progress: int
    model: str
    seconds: float
    size: str
    created_at: int
    completed_at: int | None = None
    expires_at: int | None = None
    frames: int | None = None
    seed: int | None = None
    session_id: str | None = None
    error: VideoFault | None = None
    answer: Mapping[str, Any] = field(repr=False)

    @property
    def over(self) -> bool:
        return self.status in TERMINAL


def video_of(text: bytes) -> Video:
    """Raises ProtocolViolation."""
    try:
        return video_of_object(json.loads(text))
    except ValueError as error:
        raise ProtocolViolation(f"expected a video, got {text[:80]!r}") from error


def video_of_object(said: object) -> Video:
    """Raises ProtocolViolation."""
    try:
        read = cast(dict[str, Any], said)
        status, error = read["status"], read.get("error")
        if status not in get_args(VideoStatus) or not isinstance(read["id"], str):
            raise ValueError
        return Video(
            id=read["id"],
            status=status,
            progress=int(read["progress"]),
            model=str(read["model"]),
            seconds=float(read["seconds"]),
            size=str(read["size"]),
            created_at=int(read["created_at"]),
            completed_at=read.get("completed_at"),
            expires_at=read.get("expires_at"),
            frames=read.get("frames"),
            seed=read.get("seed"),
            session_id=read.get("session_id"),
            error=None if error is None else VideoFault(str(error["code"]), str(error["message"])),
            answer=read,
        )
    except (LookupError, TypeError, ValueError) as error:
        raise ProtocolViolation(f"expected a video, got {str(said)[:80]!r}") from error


def request_object(
    prompt: Prompt, *, seconds: float, changes: Sequence[PromptChange], options: VideoOptions, picture: bytes | None
) -> dict[str, object]:
    """The body of `POST /v1/videos`."""
    model = Model(options.model) if isinstance(options.model, str) else options.model or Model("")
    fields: dict[str, object | None] = {
        "prompts": [_entry(PromptChange(prompt, at=0.0)), *map(_entry, changes)],
        "seconds": f"{seconds:.6f}".rstrip("0").rstrip("."),
        "model": model.name or None,
        "adapters": None
        if model.adapters is None
        else [{"name": adapter.name, "scale": adapter.scale} for adapter in model.adapters],
        "seed": options.seed,
        "size": None if options.size is None else "{}x{}".format(*options.size),
        "steps": options.steps,
        "decoder": options.decoder,
        "priority": options.priority,
        "metadata": dict(options.metadata) or None,
        "webhook_url": options.webhook_url,
        "input_reference": None if picture is None else {"image_url": _data_url(picture)},
    }
    return {name: value for name, value in fields.items() if value is not None}


def prompt_object(prompt: Prompt) -> dict[str, object]:
    """A prompt or a blend, as the REST takes it."""
    if isinstance(prompt, str):
        return {"prompt": prompt}
    return {"prompts": [{"text": part.text, "weight": part.weight} for part in prompt]}


def _entry(change: PromptChange) -> dict[str, object]:
    fields: dict[str, object] = {"at": change.at or 0.0, "mode": change.mode, "sink": change.sink}
    return fields | {"transition": change.transition_chunks} | prompt_object(change.prompt)


def _data_url(picture: bytes) -> str:
    """The server looks at the bytes to see what they are."""
    return f"data:application/octet-stream;base64,{base64.b64encode(picture).decode()}"
