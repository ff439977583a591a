"""Models of server messages: each one goes over the wire and comes back as it was."""

import pytest

from service.protocol import ServerMessage, encode_message, parse_server_message
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
    MissingChunks,
    SessionCheckpointed,
    SessionControlApplied,
    SessionDirection,
    SessionDone,
    SessionDraining,
    SessionForked,
    SessionLimits,
    SessionPong,
    SessionQueued,
    SessionResumed,
    SessionStats,
    SessionWarning,
    VideoDiscard,
    VideoStart,
    WorkerRestarting,
)

LIMITS = SessionLimits(
    max_message_bytes=65536,
    max_prompt_chars=2000,
    max_prompts=8,
    interaction_queue=16,
    message_rate=50.0,
    max_seconds=3600.0,
    idle_timeout_s=300.0,
    resume_grace_s=60.0,
)
EVERY_MESSAGE: tuple[ServerMessage, ...] = (
    VideoStart(
        session_id="s",
        model="demo",
        width=96,
        height=96,
        fps=16.0,
        format="jpeg",
        seed=2**63 - 1,
        block_frames=3,
        frames_per_block=12,
        first_block_frames=9,
        limits=LIMITS,
    ),
    SessionQueued(position=1, waiting=3),
    MediaInit(format="jpeg", quality=85, width=96, height=96, sequence=0),
    VideoDiscard(from_sequence=4, next_sequence=6, reason="prompt"),
    SessionControlApplied(action="quality", quality=40, sequence=3, event_id="e"),
    SessionControlApplied(action="rewind", sequence=9, block=3, take=1),
    SessionForked(session_id="t", resume_token="secret", block=3, event_id="e"),
    SessionCheckpointed(name="the storm", sequence=7, block=7),
    SessionDirection(role="director", offered=False, resume_token="secret"),
    SessionResumed(session_id="s", cause="worker", next_sequence=5),
    SessionResumed(
        session_id="s",
        cause="connection",
        next_sequence=5,
        resume_token="secret",
        missing=MissingChunks(from_sequence=2, to_sequence=4),
    ),
    WorkerRestarting(message="its process was killed by SIGKILL"),
    SessionStats(
        at_seconds=1.0,
        fps=16.0,
        realtime_ratio=1.0,
        lead_seconds=0.75,
        chunks=2,
        frames=24,
        frames_dropped=0,
        bytes_sent=50_000,
        block_ms=400.0,
    ),
    SessionDraining(deadline_seconds=5.0),
    ChunkMetadata(
        sequence=1,
        take=0,
        block=1,
        attempt=0,
        pts=0.75,
        fps=16.0,
        num_frames=1,
        format="webp",
        byte_length=10,
        frames=(FramePart(offset=0, length=10, pts=0.75),),
        frames_sha256="0" * 64,
        event_ids=("e",),
        started_event_ids=("e",),
        timings=ChunkTimings(denoise_ms=12.5),
    ),
    InteractionQueued(event_id="e", ahead_blocks=1),
    InteractionQueued(event_id="e"),
    InteractionApplied(event_id="e", sequence=2, block=2, queued_ms=1.0, latency_ms=2.0),
    InteractionSuperseded(event_id="e", by="f"),
    InteractionRejected(event_id="e", code="prompt_empty", message="empty", field="prompt"),
    SessionWarning(code="prompt_truncated", message="cut at 200", field="prompt", event_id="e"),
    SessionPong(id="p"),
    SessionPong(),
    SessionDone(reason="stopped", chunks=2, frames=24, journal={"seed": 1, "events": [{"block": 0}]}),
    ErrorMessage(code="json_invalid", message="no", expected="JSON"),
    ErrorMessage(code="worker_died", message="gone", retryable=True, retry_after=1.5, fatal=True),
)


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda message: message.type)
def test_every_server_message_round_trips(message: ServerMessage) -> None:
    assert parse_server_message(encode_message(message)) == message


def test_every_server_message_is_tried() -> None:
    assert {type(message) for message in EVERY_MESSAGE} == set(ServerMessage.__args__)


def test_what_is_not_known_is_left_out() -> None:
    assert encode_message(InteractionQueued(event_id="e")) == '{"type":"session.interaction.queued","event_id":"e"}'
