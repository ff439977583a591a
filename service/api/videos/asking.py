"""What a client asks of `POST /v1/videos`, as a strict model, and the job request that it comes to.

It knows the fields and their bounds; nothing of HTTP, hooks or how a job is kept. Invariants: a request that exists
can be made by some model; its timeline begins at 0 and rises, and ends before the video does.
"""

import itertools
import math
import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, ValidationError, field_validator

from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError
from service.jobs.values import AdapterScale, JobRequest, TimedPrompt, WeightedText
from service.protocol.client import (
    MAX_SECONDS,
    MAX_SEED,
    MAX_TRANSITION_CHUNKS,
    Adapters,
    ClientModel,
    Prompted,
    PromptMode,
    SinkPolicy,
    is_blank,
    refusal,
)
from service.protocol.parse import translated

DEFAULT_SECONDS = "4"
MAX_PRIORITY = 10
MAX_STEPS = 100
MAX_METADATA = 16
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,6})?")
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


def _seconds_text(value: object) -> object:
    """A number is taken too: some clients send one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return format(value, "f").rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return value


def _reference(value: object) -> object:
    return {"image_url": value} if isinstance(value, str) else value


Seconds = Annotated[str, BeforeValidator(_seconds_text), Field(max_length=16)]
MetadataText = Annotated[str, Field(max_length=512)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
Metadata = Annotated[dict[MetadataKey, MetadataText], Field(max_length=MAX_METADATA)]


class Reference(ClientModel):
    """A picture or clip by `https://` or as a `data:` URL."""

    image_url: str = Field(min_length=1)


class TimelineEntry(Prompted):
    """A prompt that the video is to show from second `at` on; `transition` is in blocks."""

    at: float = Field(ge=0, le=MAX_SECONDS)
    transition: int = Field(default=0, ge=0, le=MAX_TRANSITION_CHUNKS)
    mode: PromptMode = "recache"
    sink: SinkPolicy = "keep"


class VideoRequest(ClientModel):
    """A video to be made. `prompts` are its further prompts, or all of them if one is at 0.

    `seconds` is a text, as in "8" or "7.5"; `size` is "WIDTHxHEIGHT", by default the model's own; of `priority` the
    larger is sooner; `steps`, `decoder` and `adapters` are the model's own where they are not given.
    """

    prompt: str | None = None
    prompts: Annotated[tuple[TimelineEntry, ...], Field(strict=False, min_length=1)] | None = None
    model: str | None = Field(default=None, min_length=1, max_length=64)
    seconds: Seconds = DEFAULT_SECONDS
    size: str | None = Field(default=None, max_length=16)
    input_reference: Annotated[Reference, BeforeValidator(_reference)] | None = None
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    decoder: str | None = Field(default=None, min_length=1, max_length=32)
    format: Literal["mp4"] = "mp4"
    adapters: Adapters | None = None
    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    metadata: Metadata = Field(default_factory=dict)
    webhook_url: str | None = Field(default=None, min_length=1, max_length=2048)

    @field_validator("seconds")
    @classmethod
    def _is_a_length(cls, value: str) -> str:
        if _SECONDS.fullmatch(value) is None or float(value) <= 0:
            raise refusal(
                ErrorCode.FIELD_RANGE,
                "`seconds` is no length.",
                field="",
                expected='seconds above 0 as a text, such as "8"',
            )
        return value

    @field_validator("size")
    @classmethod
    def _is_a_size(cls, value: str | None) -> str | None:
        if value is not None and _SIZE.fullmatch(value) is None:
            raise refusal(
                ErrorCode.FIELD_RANGE,
                "`size` is no size.",
                field="",
                expected='WIDTHxHEIGHT in pixels, such as "832x480"',
            )
        return value


class RemixRequest(ClientModel):
    """The same video under another prompt, or other prompts: same seed, size and length."""

    prompt: str | None = None
    prompts: Annotated[tuple[TimelineEntry, ...], Field(strict=False, min_length=1)] | None = None


def parse_request(fields: dict[str, JsonValue], config: ServiceConfig) -> VideoRequest:
    """Raises ProtocolError that names the field."""
    try:
        request = VideoRequest.model_validate(fields)
    except ValidationError as error:
        raise translated(error) from None
    if float(request.seconds) > config.max_seconds:
        raise ProtocolError(
            ErrorCode.LENGTH_LIMIT,
            f"The video would have {request.seconds} seconds.",
            field="seconds",
            expected=f"at most {config.max_seconds:g}",
        )
    return request


def parse_remix(fields: dict[str, JsonValue]) -> RemixRequest:
    """Raises ProtocolError that names the field."""
    try:
        return RemixRequest.model_validate(fields)
    except ValidationError as error:
        raise translated(error) from None


def timeline_of(request: VideoRequest | RemixRequest, config: ServiceConfig, *, seconds: float) -> list[TimelineEntry]:
    """The prompts in order, the first at 0. Raises ProtocolError."""
    entries = sorted(request.prompts or (), key=lambda entry: entry.at)
    if request.prompt is not None:
        if entries and entries[0].at == 0 and entries[0].prompt != request.prompt:
            raise _wrong(ErrorCode.PROMPT_CONFLICT, "There are two prompts for the beginning.", "prompts")
        if not entries or entries[0].at > 0:
            entries.insert(0, TimelineEntry(prompt=request.prompt, at=0.0))
    if not entries:
        raise _wrong(ErrorCode.PROMPT_MISSING, "No prompt was given.", "prompt", "`prompt` or `prompts`")
    if entries[0].at > 0:
        raise _wrong(ErrorCode.PROMPT_MISSING, "No prompt is for the beginning.", "prompts", "`prompt`, or one at 0")
    if len(entries) > config.max_timeline_prompts:
        most = f"at most {config.max_timeline_prompts}"
        raise _wrong(ErrorCode.FIELD_RANGE, f"There are {len(entries)} prompts.", "prompts", most)
    _check_times(entries, seconds)
    _check_texts(entries, config.max_prompt_chars)
    return entries


def _check_times(entries: list[TimelineEntry], seconds: float) -> None:
    for index, (entry, following) in enumerate(itertools.pairwise(entries)):
        if entry.at == following.at:
            message = f"Two prompts are at {entry.at:g} s."
            raise _wrong(ErrorCode.FIELD_RANGE, message, f"prompts.{index}.at", "each time once")
    if entries[-1].at >= seconds:
        message = f"A prompt is at {entries[-1].at:g} s of a video of {seconds:g} s."
        raise _wrong(ErrorCode.FIELD_RANGE, message, f"prompts.{len(entries) - 1}.at", "a time before the end")


def _check_texts(entries: list[TimelineEntry], most_chars: int) -> None:
    for index, entry in enumerate(entries):
        for part, prompt in enumerate(entry.weighted_prompts):
            field = f"prompts.{index}.{entry.prompt_field(part)}"
            if len(prompt.text) > most_chars:
                message = f"The prompt has {len(prompt.text)} characters."
                raise _wrong(ErrorCode.PROMPT_TOO_LONG, message, field, f"at most {most_chars} characters")
            if is_blank(prompt.text):
                message = "The prompt is empty."
                raise _wrong(ErrorCode.PROMPT_EMPTY, message, field, "at least one visible character")


def timed_prompts(entries: list[TimelineEntry]) -> tuple[TimedPrompt, ...]:
    """As a job has them."""
    return tuple(
        TimedPrompt(
            at=entry.at,
            prompts=tuple(WeightedText(prompt.text, prompt.weight) for prompt in entry.weighted_prompts),
            mode=entry.mode,
            sink=entry.sink,
            transition_chunks=entry.transition,
        )
        for entry in entries
    )


def job_request(request: VideoRequest, timeline: tuple[TimedPrompt, ...]) -> JobRequest:
    """The job without what hooks have to say of it."""
    size = _SIZE.fullmatch(request.size) if request.size else None
    width, height = (int(size[1]), int(size[2])) if size else (None, None)
    adapters = request.adapters
    return JobRequest(
        timeline=timeline,
        seconds=float(request.seconds),
        model=request.model,
        width=width,
        height=height,
        seed=request.seed,
        steps=request.steps,
        decoder=request.decoder,
        adapters=None if adapters is None else tuple(AdapterScale(item.name, item.scale) for item in adapters),
        priority=request.priority,
        webhook_url=request.webhook_url,
        metadata=dict(request.metadata),
    )


def _wrong(code: ErrorCode, message: str, field: str, expected: str = "") -> ProtocolError:
    return ProtocolError(code, message, field=field, expected=expected)
