"""Between the wire and the worker: each client message as a command, each event as a message for the client.

It knows the two vocabularies and nothing else: no sockets, no states, no clocks. Invariant: nothing is
lost or made up on the way; a field that both sides have goes through unchanged.
"""

import base64
import json
from dataclasses import dataclass, replace
from typing import Self

from service import ipc
from service.api.interactions import digest_of
from service.config import ServiceConfig
from service.errors import CloseCode, ErrorCode, ProtocolError, WarningCode, facts_of
from service.protocol import encode_message
from service.protocol.client import (
    MAX_PROMPTS,
    AdapterRequest,
    MediaFormat,
    SessionControl,
    SessionInteraction,
    SessionPlayback,
    SessionStart,
    WeightedPrompt,
)
from service.protocol.server import (
    ChunkMetadata,
    ChunkTimings,
    ErrorMessage,
    FramePart,
    InteractionApplied,
    InteractionQueued,
    InteractionRejected,
    InteractionSuperseded,
    MediaInit,
    Role,
    SessionControlApplied,
    SessionDone,
    SessionLimits,
    SessionWarning,
    VideoStart,
)
from service.store.prompts import AcceptedPrompt, PromptEnd
from service.store.records import StoredCourse


@dataclass(frozen=True, slots=True)
class Media:
    """How a session's frames are encoded, as far as the client is told."""

    format: MediaFormat = "jpeg"
    quality: int = 85
    width: int = 0
    height: int = 0
    codec: str = ""
    init: bytes = b""

    def of_video(self, started: ipc.Started) -> Self:
        """Of this size, and with what its decoder has to have first."""
        return replace(self, width=started.width, height=started.height, codec=started.codec, init=started.init)

    def of_quality(self, quality: int) -> Self:
        return replace(self, quality=quality)

    def message(self, sequence: int) -> MediaInit:
        return MediaInit(
            format=self.format,
            quality=self.quality,
            width=self.width,
            height=self.height,
            sequence=sequence,
            codec=self.codec or None,
            init=base64.b64encode(self.init).decode() or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerPlace:
    """How one connection stands to its session."""

    role: Role
    next_sequence: int
    shared: bool
    resume_token: str | None = None


def start_command(message: SessionStart, session: str, *, credits: int, max_seconds: float) -> ipc.Start:
    return ipc.Start(
        session=session,
        prompts=_prompts(message.weighted_prompts),
        seed=message.seed,
        model=message.model,
        width=message.width,
        height=message.height,
        format=message.format,
        quality=message.quality,
        pacing=message.pacing,
        max_seconds=max_seconds,
        credits=credits,
        event_id=message.event_id or "",
        buffer_seconds=message.buffer_seconds,
        adapters=_adapters(message.adapters),
    )


def restart_command(start: ipc.Start, *, credits: int, quality: int) -> ipc.Start:
    """The same start for another worker, as things are now."""
    return ipc.changed(start, credits=credits, quality=quality)


def course_of(course: StoredCourse, event_ids: tuple[str, ...]) -> ipc.Course:
    """How a session goes on, as the store has it."""
    return ipc.Course(
        journal=course.journal,
        blocks=tuple(ipc.CourseBlock(row.sequence, row.frames) for row in course.rows),
        sequence=course.next_sequence,
        event_ids=event_ids,
        waiting=course.waiting,
    )


def interact_command(message: SessionInteraction, session: str) -> ipc.Interact:
    return ipc.Interact(
        session=session,
        event_id=message.event_id,
        prompts=_prompts(message.weighted_prompts),
        mode=message.mode,
        sink=message.sink,
        transition_chunks=message.transition_chunks,
        at=message.at,
        adapters=_adapters(message.adapters),
    )


def accepted_prompt(message: SessionInteraction, said: SessionInteraction) -> AcceptedPrompt:
    """As it is stored: what the client said, as the engine gets it."""
    document = said.model_dump_json(exclude_none=True)
    return AcceptedPrompt(event_id=message.event_id, digest=digest_of(message), document=document)


def accepted_command(prompt: AcceptedPrompt, session: str) -> ipc.Interact:
    """One that was accepted before, for another worker. Raises ValidationError where it cannot be read."""
    message = SessionInteraction.model_validate_json(prompt.document)
    return ipc.changed(interact_command(message, session), not_before=prompt.not_before)


def control_command(message: SessionControl, session: str) -> ipc.Control:
    action = message.action
    assert action != "rewind", "the worker has another command for this"
    assert action != "seek_live", "the worker has no part in this"
    return ipc.Control(session=session, action=action, quality=message.quality, event_id=message.event_id or "")


def playback_command(message: SessionPlayback, session: str) -> ipc.Playback:
    return ipc.Playback(
        session=session,
        position=message.position_seconds,
        buffered=message.buffered_seconds,
        dropped=message.dropped,
    )


def _adapters(adapters: tuple[AdapterRequest, ...] | None) -> tuple[ipc.Adapter, ...] | None:
    return None if adapters is None else tuple(ipc.Adapter(item.name, item.scale) for item in adapters)


def _prompts(prompts: tuple[WeightedPrompt, ...]) -> tuple[ipc.Prompt, ...]:
    return tuple(ipc.Prompt(prompt.text, prompt.weight) for prompt in prompts)


def session_limits(config: ServiceConfig) -> SessionLimits:
    return SessionLimits(
        max_message_bytes=config.max_message_bytes,
        max_prompt_chars=config.max_prompt_chars,
        max_prompts=MAX_PROMPTS,
        interaction_queue=config.interaction_queue,
        message_rate=config.message_rate,
        max_seconds=config.max_seconds,
        idle_timeout_s=config.idle_timeout,
        resume_grace_s=config.resume_grace,
    )


def video_start(
    event: ipc.Started, media_format: MediaFormat, *, limits: SessionLimits, place: ListenerPlace
) -> VideoStart:
    return VideoStart(
        session_id=event.session,
        role=place.role,
        resume_token=place.resume_token,
        next_sequence=place.next_sequence,
        shared_direction=place.shared,
        model=event.model,
        width=event.width,
        height=event.height,
        fps=event.fps,
        format=media_format,
        seed=event.seed,
        block_frames=event.block_frames,
        frames_per_block=event.frames_per_block,
        first_block_frames=event.first_block_frames,
        limits=limits,
    )


def chunk_metadata(event: ipc.Chunk) -> ChunkMetadata:
    stages = event.timings
    return ChunkMetadata(
        sequence=event.sequence,
        take=event.take,
        block=event.block,
        attempt=event.attempt,
        pts=event.pts,
        fps=event.fps,
        num_frames=len(event.frames),
        format=event.format,
        byte_length=len(event.payload),
        frames=tuple(FramePart(offset=span.offset, length=span.length, pts=span.pts) for span in event.frames),
        frames_sha256=event.frames_sha256,
        event_ids=event.event_ids,
        started_event_ids=event.started_event_ids,
        completed_event_ids=event.completed_event_ids,
        timings=ChunkTimings(
            text_ms=stages.text,
            recache_ms=stages.recache,
            denoise_ms=stages.denoise,
            clean_ms=stages.clean,
            decode_ms=stages.decode,
            encode_ms=stages.encode,
        ),
    )


def interaction_message(
    event: ipc.Queued | ipc.Applied | ipc.Superseded | ipc.Rejected,
) -> InteractionQueued | InteractionApplied | InteractionSuperseded | InteractionRejected:
    match event:
        case ipc.Queued():
            return InteractionQueued(event_id=event.event_id, ahead_blocks=event.ahead_blocks)
        case ipc.Applied():
            return InteractionApplied(
                event_id=event.event_id,
                sequence=event.sequence,
                block=event.block,
                queued_ms=event.queued_ms,
                latency_ms=event.latency_ms,
            )
        case ipc.Superseded():
            return InteractionSuperseded(event_id=event.event_id, by=event.by)
        case ipc.Rejected():
            return InteractionRejected(
                event_id=event.event_id, code=event.code, message=event.message, field=event.field
            )


def prompt_end(event: ipc.Applied | ipc.Superseded | ipc.Rejected) -> PromptEnd:
    """As it is stored."""
    return PromptEnd(event.event_id, encode_message(interaction_message(event)))


def control_message(event: ipc.ControlApplied) -> SessionControlApplied:
    return SessionControlApplied(
        action=event.action, quality=event.quality, sequence=event.sequence, event_id=event.event_id or None
    )


def rewound_message(event: ipc.Rewound) -> SessionControlApplied:
    return SessionControlApplied(
        action="rewind", sequence=event.sequence, block=event.block, take=event.take, event_id=event.event_id or None
    )


def rewind_refusal(event: ipc.Rejected) -> ErrorMessage:
    """The engine does not go back there."""
    return ErrorMessage(
        code=event.code,
        message=event.message,
        field=event.field,
        retryable=facts_of(event.code).retryable,
        event_id=event.event_id or None,
    )


def warning_message(event: ipc.Warned) -> SessionWarning:
    return SessionWarning(
        code=event.code,
        message=event.message,
        field=event.field,
        event_id=event.event_id or None,
        kept_characters=event.kept_characters,
    )


def numerics_warning(before: str, after: str) -> SessionWarning:
    return SessionWarning(
        code=WarningCode.NUMERICS_CHANGED, message=f"The numerics were {before} and are {after} from here on."
    )


def store_warning(behind: bool) -> SessionWarning:
    if behind:
        message = "The store takes nothing now: the video goes on, and what is made from here on is not stored yet."
        return SessionWarning(code=WarningCode.STORE_BEHIND, message=message)
    return SessionWarning(code=WarningCode.STORE_CAUGHT_UP, message="All that was made is stored again.")


def drop_warning(count: int) -> SessionWarning:
    return SessionWarning(
        code=WarningCode.FRAMES_DROPPED, message=f"{count} frames were left out: they came too slowly.", count=count
    )


def done_message(event: ipc.Ended) -> SessionDone:
    return SessionDone(reason=event.reason, chunks=event.chunks, frames=event.frames, journal=json.loads(event.journal))


def nothing_done() -> SessionDone:
    """The end of a session that never had a place."""
    return SessionDone(reason="stopped", chunks=0, frames=0, journal={})


def failure_message(event: ipc.Failed, *, fatal: bool, retry_after: float | None = None) -> ErrorMessage:
    """The engine's refusal or fault. `fatal` is the connection's to say: a start may be tried again."""
    return ErrorMessage(
        code=event.code,
        message=event.message,
        field=event.field,
        retryable=facts_of(event.code).retryable,
        retry_after=retry_after,
        fatal=fatal,
    )


def refusal_message(error: ProtocolError, *, retry_after: float | None = None) -> ErrorMessage:
    """A message that was not accepted; the connection goes on."""
    return ErrorMessage(
        code=error.code,
        message=error.message,
        field=error.field or None,
        expected=error.expected or None,
        retryable=facts_of(error.code).retryable,
        retry_after=retry_after,
        event_id=error.event_id or None,
    )


def fatal_message(code: ErrorCode, message: str, *, retry_after: float | None = None) -> ErrorMessage:
    """The end of the connection for another reason than `session.done`."""
    return ErrorMessage(
        code=code, message=message, retryable=facts_of(code).retryable, retry_after=retry_after, fatal=True
    )


def engine_seconds(timings: ipc.StageMilliseconds) -> float:
    """How long the engine worked for a chunk: all but encoding, which other threads do."""
    parts = (timings.text, timings.recache, timings.denoise, timings.clean, timings.decode)
    return sum(parts) / 1000


def retry_after(close: CloseCode, config: ServiceConfig) -> float | None:
    """What a client is told to wait where waiting may help."""
    return config.retry_after if close in (CloseCode.TRY_LATER, CloseCode.RESTART) else None
