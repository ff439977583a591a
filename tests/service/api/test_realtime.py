"""The WebSocket over real sockets: a session from start to end, bad input, slow clients, a dying worker."""

import asyncio
import hashlib
from itertools import pairwise

import pytest
from websockets.exceptions import ConnectionClosed

from service import ipc
from service.errors import CloseCode, ErrorCode
from service.protocol.client import SessionInteraction, SessionPing, SessionStart, SessionStop
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    InteractionApplied,
    InteractionQueued,
    InteractionRejected,
    SessionDone,
    SessionPong,
    SessionWarning,
    VideoStart,
)
from tests.service.api.running import FAST, Received, Running, Talk, running
from tests.service.api.test_worker_client import Clock
from tests.service.bad_messages import BAD_MESSAGES
from tests.service.fakes import FPS, FRAMES_PER_BLOCK, REFUSED_WORD

START = SessionStart(prompt="a lighthouse", seed=5, pacing="none")


async def started(talk: Talk, start: SessionStart = START) -> VideoStart:
    await talk.say(start)
    message = (await talk.hear_until(VideoStart))[-1].message
    assert isinstance(message, VideoStart)
    return message


def chunks_of(heard: list[Received]) -> list[ChunkMetadata]:
    return [item.message for item in heard if isinstance(item.message, ChunkMetadata)]


async def settled(service: Running) -> None:
    """Waits until every place and connection is free again."""
    async with asyncio.timeout(20):
        while service.client.sessions or len(service.state.connections) or service.worker.worker.sessions:
            await asyncio.sleep(0.01)


async def test_a_session_from_start_to_done() -> None:
    async with running() as service, service.connection() as talk:
        video = await started(talk)
        assert (video.model, video.width, video.seed, video.subprotocol) == ("demo", 96, 5, "longtake.v1")
        assert video.limits.max_prompt_chars == 2000
        heard = [await talk.hear() for _ in range(5)]
        await talk.say(SessionStop())
        heard += await talk.hear_until(SessionDone)
        assert await talk.closed() == CloseCode.NORMAL
    chunks = chunks_of(heard)
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.pts for chunk in chunks] == [index * FRAMES_PER_BLOCK / FPS for index in range(len(chunks))]
    for item in heard:
        if isinstance(item.message, ChunkMetadata) and item.payload is not None:
            assert hashlib.sha256(item.payload).hexdigest() == item.message.frames_sha256
            parts = item.message.frames
            assert [part.offset for part in parts] == [index * parts[0].length for index in range(FRAMES_PER_BLOCK)]
            assert sum(part.length for part in parts) == len(item.payload)
    done = heard[-1].message
    assert isinstance(done, SessionDone)
    assert (done.reason, done.chunks, done.frames) == ("stopped", len(chunks), len(chunks) * FRAMES_PER_BLOCK)
    assert done.journal == {"seed": 5, "events": []}


async def test_a_session_that_was_given_a_length_completes() -> None:
    async with running() as service, service.connection() as talk:
        await started(talk, START.model_copy(update={"max_seconds": 3.0}))
        heard = await talk.hear_until(SessionDone)
        assert await talk.closed() == CloseCode.NORMAL
    assert len(chunks_of(heard)) == 4
    assert isinstance(heard[-1].message, SessionDone)
    assert heard[-1].message.reason == "completed"


async def test_a_prompt_is_queued_then_applied_at_the_chunk_that_carries_it() -> None:
    async with running() as service, service.connection() as talk:
        await started(talk)
        await talk.say(SessionInteraction(event_id="storm", prompt="a storm"))
        heard = await talk.hear_until(InteractionApplied)
        applied = heard[-1].message
        assert isinstance(applied, InteractionApplied)
        assert sum(isinstance(item.message, InteractionQueued) for item in heard) == 1
        chunk = (await talk.hear()).message
        assert isinstance(chunk, ChunkMetadata)
        assert (chunk.sequence, chunk.started_event_ids, chunk.event_ids) == (applied.sequence, ("storm",), ("storm",))


async def test_a_prompt_sent_in_one_go_with_the_start_counts() -> None:
    async with running() as service, service.connection() as talk:
        await talk.say(START)
        await talk.say(SessionInteraction(event_id="e", prompt="a storm"))
        await talk.hear_until(InteractionApplied)


async def test_what_the_engine_refuses_or_cuts_is_said_and_the_session_goes_on() -> None:
    async with running() as service, service.connection() as talk:
        await started(talk, SessionStart(prompt="a" * 300))
        warning = (await talk.hear_until(SessionWarning))[-1].message
        assert isinstance(warning, SessionWarning)
        assert (warning.code, warning.field) == ("prompt_truncated", "prompt")
        await talk.say(SessionInteraction(event_id="e", prompt=REFUSED_WORD))
        rejected = (await talk.hear_until(InteractionRejected))[-1].message
        assert isinstance(rejected, InteractionRejected)
        assert (rejected.event_id, rejected.code, rejected.field) == ("e", "prompt_too_long", "prompt")
        await talk.hear_until(ChunkMetadata)


async def test_ping_is_answered_in_every_state() -> None:
    async with running() as service, service.connection() as talk:
        await talk.say(SessionPing(id="before"))
        assert (await talk.hear()).message == SessionPong(id="before")
        await started(talk)
        await talk.say(SessionPing(id="during"))
        assert (await talk.hear_until(SessionPong))[-1].message == SessionPong(id="during")


async def test_every_bad_message_is_answered_and_everybody_goes_on() -> None:
    async with running() as service, service.connection() as talk, service.connection() as other:
        await started(other)
        for session_runs in (False, True):
            for bad in BAD_MESSAGES:
                await talk.say(bad.text)
                error = await talk.error()
                answer = (error.code, error.field or "", error.expected or "", error.fatal)
                assert answer == (bad.code, bad.field, bad.expected, False), bad.name
            if not session_runs:
                await started(talk)
        for one in (talk, other):
            await one.say(SessionStop())
            heard = await one.hear_until(SessionDone)
            sequences = [chunk.sequence for chunk in chunks_of(heard)]
            # None may be on its way when the stop comes; those that are come in order.
            assert {after - before for before, after in pairwise(sequences)} <= {1}
            assert await one.closed() == CloseCode.NORMAL


@pytest.mark.parametrize(
    ("message", "code", "field", "expected"),
    [
        (b"\xff\xd8\xff", "binary_unexpected", None, "text messages with JSON"),
        (b"", "binary_unexpected", None, "text messages with JSON"),
        (SessionInteraction(event_id="e", prompt="a"), "session_not_started", "type", "session.start"),
        (SessionStop(), "session_not_started", "type", "session.start"),
        (SessionStart(prompt="a", model="other"), "model_unknown", "model", None),
        (SessionStart(prompt="a", width=97), "size_invalid", "width", None),
        (SessionStart(prompt="a", max_seconds=3601.0), "length_limit", "max_seconds", "at most 3600"),
    ],
    ids=["binary", "empty binary", "prompt first", "stop first", "model", "size", "length"],
)
async def test_what_is_refused_before_a_session_leaves_the_connection_usable(
    message: SessionStart | SessionInteraction | SessionStop | bytes,
    code: str,
    field: str | None,
    expected: str | None,
) -> None:
    async with running() as service, service.connection() as talk:
        await talk.say(message)
        error = await talk.error()
        assert (error.code, error.field, error.expected, error.fatal) == (code, field, expected, False)
        await started(talk)
        await talk.hear_until(ChunkMetadata)


async def test_what_is_refused_during_a_session_leaves_it_running() -> None:
    async with running() as service, service.connection() as talk:
        await started(talk)
        await talk.say(START)
        assert (await talk.error()).code == ErrorCode.SESSION_ALREADY_STARTED
        await talk.say(b"\x00" * 100)
        assert (await talk.error()).code == ErrorCode.BINARY_UNEXPECTED
        await talk.hear_until(ChunkMetadata)


async def test_a_session_that_is_not_started_in_time_ends() -> None:
    async with running(FAST.model_copy(update={"start_timeout": 0.05})) as service, service.connection() as talk:
        error = await talk.error()
        assert (error.code, error.fatal, error.retryable) == (ErrorCode.START_TIMEOUT, True, True)
        assert await talk.closed() == CloseCode.POLICY


async def test_a_client_of_which_nothing_is_heard_is_let_go() -> None:
    async with running(FAST.model_copy(update={"idle_timeout": 0.2})) as service, service.connection() as talk:
        service.worker.streaming = False
        await started(talk)
        error = await talk.error()
        assert (error.code, error.fatal) == (ErrorCode.IDLE_TIMEOUT, True)
        assert await talk.closed() == CloseCode.POLICY
        await settled(service)


async def test_messages_that_come_too_fast_are_refused_one_by_one() -> None:
    config = FAST.model_copy(update={"message_rate": 0.001, "message_burst": 3})
    async with running(config) as service, service.connection() as talk:
        for index in range(5):
            await talk.say(SessionPing(id=str(index)))
        heard = [(await talk.hear()).message for _ in range(5)]
        assert [type(message) for message in heard] == [SessionPong] * 3 + [ErrorMessage] * 2
        error = heard[-1]
        assert isinstance(error, ErrorMessage)
        assert (error.code, error.retryable, error.fatal) == (ErrorCode.RATE_LIMITED, True, False)
        assert error.retry_after is not None
        assert error.retry_after > 900


async def test_there_are_no_more_sessions_than_places() -> None:
    async with running(FAST.model_copy(update={"max_sessions": 1})) as service:
        async with service.connection() as first, service.connection() as second:
            await started(first)
            await second.say(START)
            error = await second.error()
            assert (error.code, error.fatal, error.retryable) == (ErrorCode.CAPACITY, True, True)
            assert await second.closed() == CloseCode.TRY_LATER
            await first.hear_until(ChunkMetadata)
        await settled(service)
        async with service.connection() as third:
            await started(third)


async def test_a_place_is_free_again_after_every_way_of_leaving() -> None:
    async with running(FAST.model_copy(update={"max_sessions": 1})) as service:
        for leave in ("close", "vanish", "stop"):
            async with service.connection() as talk:
                await started(talk)
                if leave == "vanish":
                    talk.socket.transport.abort()
                elif leave == "stop":
                    await talk.say(SessionStop())
                    await talk.hear_until(SessionDone)
            await settled(service)


async def test_a_slow_client_slows_only_itself() -> None:
    """One client reads nothing; with frames this big its socket is full after a chunk or two."""
    async with running(frame_bytes=200_000) as service, service.connection() as slow, service.connection() as quick:
        await started(slow)
        name = next(iter(service.worker.worker.sessions))
        await started(quick)
        heard: list[Received] = []
        while len(chunks_of(heard)) < 60:
            heard.append(await quick.hear())
        assert [chunk.sequence for chunk in chunks_of(heard)] == list(range(60))
        held = service.worker.worker.sessions[name]
        assert held.credits == 0
        assert held.sequence < 30
        assert service.worker.worker.most_outstanding <= FAST.session_credits
        slow.socket.transport.abort()


async def test_a_client_that_takes_nothing_is_cut_off_and_its_place_is_free() -> None:
    config = FAST.model_copy(update={"send_timeout": 0.2, "close_timeout": 0.2})
    async with running(config, frame_bytes=400_000) as service, service.connection() as talk:
        await started(talk)
        await settled(service)
        with pytest.raises(ConnectionClosed):
            await talk.hear_until(SessionDone)


@pytest.mark.parametrize("death", ["says so", "falls silent", "does not read"])
async def test_when_the_worker_dies_every_session_hears_it_once(death: str) -> None:
    clock = Clock()
    async with running(clock=clock) as service, service.connection() as one, service.connection() as other:
        await started(one)
        await started(other)
        _kill(service, death)
        clock.added += 2 * FAST.heartbeat_timeout if death == "falls silent" else 0.0
        if death == "does not read":
            await one.say(SessionInteraction(event_id="e", prompt="a"))
        for talk in (one, other):
            error = await talk.error()
            assert (error.code, error.fatal, error.retryable) == (ErrorCode.WORKER_DIED, True, True)
            assert await talk.closed() == CloseCode.RESTART
            with pytest.raises(ConnectionClosed):
                await talk.hear()
        assert service.client.sessions == 0
        async with service.connection() as late:
            await late.say(START)
            error = await late.error()
            assert (error.code, error.fatal) == (ErrorCode.WORKER_UNAVAILABLE, True)
            assert await late.closed() == CloseCode.TRY_LATER


def _kill(service: Running, death: str) -> None:
    if death == "says so":
        service.worker.link.emit(ipc.Dead(code="internal_error", message="out of memory"))
    elif death == "falls silent":
        service.worker.frozen = True
    else:
        service.worker.link.full = True


async def test_a_worker_that_does_not_answer_a_stop_ends_the_session_all_the_same() -> None:
    config = FAST.model_copy(update={"answer_timeout": 0.2, "drain_timeout": 0.2})
    async with running(config) as service, service.connection() as talk:
        await started(talk)
        service.worker.frozen = True
        await talk.say(SessionStop())
        error = await talk.error()
        assert (error.code, error.fatal) == (ErrorCode.WORKER_STALLED, True)
        assert await talk.closed() == CloseCode.RESTART


async def test_shutdown_ends_sessions_first() -> None:
    async with running() as service, service.connection() as talk, service.connection() as idle:
        await started(talk)
        await idle.say(SessionPing())
        await idle.hear()
        service.server.should_exit = True
        done = (await talk.hear_until(SessionDone))[-1].message
        assert isinstance(done, SessionDone)
        assert done.reason == "drained"
        assert await talk.closed() == CloseCode.NORMAL
        assert (await idle.error()).code == ErrorCode.SERVER_DRAINING
        assert await idle.closed() == CloseCode.GOING_AWAY
