"""Between the wire and the worker: every field that both sides have goes through unchanged."""

import pytest

from service import ipc
from service.api import translate
from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError
from service.protocol.client import SessionInteraction, SessionStart, WeightedPrompt
from service.protocol.server import (
    ChunkTimings,
    FramePart,
    InteractionApplied,
    InteractionQueued,
    InteractionRejected,
    InteractionSuperseded,
    ServerMessage,
    SessionWarning,
)

PROMPTS = (WeightedPrompt(text="a", weight=0.25), WeightedPrompt(text="b", weight=3.0))
IPC_PROMPTS = (ipc.Prompt("a", 0.25), ipc.Prompt("b", 3.0))


def test_a_start_keeps_everything() -> None:
    message = SessionStart(
        model="m",
        prompts=PROMPTS,
        seed=2**63 - 1,
        width=64,
        height=32,
        format="png",
        quality=1,
        pacing="none",
        event_id="e",
    )
    assert translate.start_command(message, "s", credits=3, max_seconds=9.5) == ipc.Start(
        session="s",
        prompts=IPC_PROMPTS,
        seed=2**63 - 1,
        model="m",
        width=64,
        height=32,
        format="png",
        quality=1,
        pacing="none",
        max_seconds=9.5,
        credits=3,
        event_id="e",
    )


def test_an_interaction_keeps_everything() -> None:
    message = SessionInteraction(
        event_id="e", prompts=PROMPTS, transition_chunks=4, mode="flush", sink="refresh", at=2.5
    )
    assert translate.interact_command(message, "s") == ipc.Interact(
        session="s", event_id="e", prompts=IPC_PROMPTS, mode="flush", sink="refresh", transition_chunks=4, at=2.5
    )


def test_a_chunk_keeps_everything_and_counts_its_frames_and_bytes() -> None:
    chunk = ipc.Chunk(
        session="s",
        sequence=5,
        take=1,
        block=4,
        attempt=2,
        pts=3.0,
        fps=16,
        format="raw",
        frames=(ipc.FrameSpan(0, 3, 3.0), ipc.FrameSpan(3, 4, 3.0625)),
        frames_sha256="f" * 64,
        event_ids=("a",),
        started_event_ids=("b",),
        completed_event_ids=("c",),
        timings=ipc.StageMilliseconds(text=1.0, recache=2.0, denoise=3.0, clean=4.0, decode=5.0, encode=6.0),
        payload=b"1234567",
    )
    message = translate.chunk_metadata(chunk)
    for name in ("sequence", "take", "block", "attempt", "pts", "fps", "format", "frames_sha256", "event_ids"):
        assert getattr(message, name) == getattr(chunk, name)
    assert (message.started_event_ids, message.completed_event_ids) == (("b",), ("c",))
    assert (message.num_frames, message.byte_length) == (2, 7)
    assert message.frames == (FramePart(offset=0, length=3, pts=3.0), FramePart(offset=3, length=4, pts=3.0625))
    assert message.timings == ChunkTimings(
        text_ms=1.0, recache_ms=2.0, denoise_ms=3.0, clean_ms=4.0, decode_ms=5.0, encode_ms=6.0
    )


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (ipc.Queued(session="s", event_id="e", ahead_blocks=2), InteractionQueued(event_id="e", ahead_blocks=2)),
        (
            ipc.Applied(session="s", event_id="e", sequence=1, block=2, queued_ms=3.0, latency_ms=4.0),
            InteractionApplied(event_id="e", sequence=1, block=2, queued_ms=3.0, latency_ms=4.0),
        ),
        (ipc.Superseded(session="s", event_id="e", by="f"), InteractionSuperseded(event_id="e", by="f")),
        (
            ipc.Rejected(session="s", event_id="e", code="c", message="m", field="prompt"),
            InteractionRejected(event_id="e", code="c", message="m", field="prompt"),
        ),
    ],
    ids=["queued", "applied", "superseded", "rejected"],
)
def test_what_becomes_of_an_interaction(
    event: ipc.Queued | ipc.Applied | ipc.Superseded | ipc.Rejected, message: ServerMessage
) -> None:
    assert translate.interaction_message(event) == message


def test_a_warning_without_an_event_names_none() -> None:
    event = ipc.Warned(session="s", code="c", message="m", field="prompt", event_id="")
    assert translate.warning_message(event) == SessionWarning(code="c", message="m", field="prompt")


def test_the_limits_that_are_told_are_those_that_hold() -> None:
    config = ServiceConfig(max_prompt_chars=7, interaction_queue=3, message_rate=2.5)
    limits = translate.session_limits(config)
    assert (limits.max_prompt_chars, limits.interaction_queue, limits.message_rate) == (7, 3, 2.5)


def test_a_refusal_says_whether_to_try_again() -> None:
    error = ProtocolError(ErrorCode.RATE_LIMITED, "too fast", expected="less", event_id="e")
    message = translate.refusal_message(error, retry_after=0.5)
    assert (message.retryable, message.retry_after, message.fatal, message.event_id) == (True, 0.5, False, "e")
    assert message.field is None


def test_a_failure_may_be_tried_again_if_the_registry_says_so() -> None:
    failed = ipc.Failed(session="s", code="colour_invalid", message="m", field="f")
    assert translate.failure_message(failed, fatal=False).retryable is False
    by_registry = ipc.Failed(session="s", code="capacity", message="m")
    assert translate.failure_message(by_registry, fatal=True).retryable is True
