"""Control, playback, figures, the waiting room, draining and slow clients, over real sockets."""

import asyncio

import pytest

from service import ipc
from service.errors import CloseCode, ErrorCode
from service.protocol.client import SessionControl, SessionPing, SessionPlayback, SessionStart, SessionStop
from service.protocol.server import (
    ChunkMetadata,
    MediaInit,
    SessionControlApplied,
    SessionDone,
    SessionDraining,
    SessionPong,
    SessionQueued,
    SessionStats,
    SessionWarning,
    VideoStart,
)
from tests.service.api.running import FAST, Received, Running, Talk, running

START = SessionStart(prompt="a lighthouse", seed=5, pacing="none")
ROOMY = FAST.model_copy(update={"max_sessions": 1, "waiting_room": 4})


async def started(talk: Talk, start: SessionStart = START) -> None:
    await talk.say(start)
    await talk.hear_until(MediaInit)


def chunks_of(heard: list[Received]) -> list[ChunkMetadata]:
    return [item.message for item in heard if isinstance(item.message, ChunkMetadata)]


async def test_pause_and_resume_lose_nothing() -> None:
    async with running() as service, service.connection() as talk:
        await started(talk)
        await talk.say(SessionControl(action="pause", event_id="p"))
        applied = (await talk.hear_until(SessionControlApplied))[-1].message
        assert isinstance(applied, SessionControlApplied)
        assert (applied.action, applied.event_id, applied.quality) == ("pause", "p", None)
        await talk.say(SessionControl(action="pause"))
        await talk.hear_until(SessionControlApplied)
        await talk.say(SessionPing())
        assert chunks_of(await talk.hear_until(SessionPong)) == []
        await talk.say(SessionControl(action="resume"))
        heard = await talk.hear_until(ChunkMetadata)
        assert chunks_of(heard)[0].sequence == applied.sequence


async def test_a_change_of_quality_is_announced_before_the_chunk_it_holds_for() -> None:
    async with running() as service, service.connection() as talk:
        await started(talk)
        await talk.say(SessionControl(action="quality", quality=30))
        applied = (await talk.hear_until(SessionControlApplied))[-1].message
        media = (await talk.hear()).message
        assert isinstance(applied, SessionControlApplied)
        assert media == MediaInit(format="jpeg", quality=30, width=96, height=96, sequence=applied.sequence)
        chunk = chunks_of(await talk.hear_until(ChunkMetadata))[0]
        assert chunk.sequence == applied.sequence


async def test_the_playhead_goes_to_the_worker() -> None:
    async with running() as service, service.connection() as talk:
        await started(talk)
        await talk.say(SessionPlayback(position_seconds=1.5, buffered_seconds=0.5, dropped=2))
        await talk.say(SessionPing())
        await talk.hear_until(SessionPong)
        async with asyncio.timeout(20):
            while not any(isinstance(command, ipc.Playback) for command in service.worker.worker.commands):
                await asyncio.sleep(0.005)
        (held,) = service.worker.worker.sessions.values()
        assert held.playhead == 1.5


@pytest.mark.parametrize("message", [SessionControl(action="pause"), SessionPlayback(position_seconds=0.0)])
async def test_what_needs_a_session_is_refused_without_one(message: SessionControl | SessionPlayback) -> None:
    async with running() as service, service.connection() as talk:
        await talk.say(message)
        error = await talk.error()
        assert (error.code, error.fatal) == (ErrorCode.SESSION_NOT_STARTED, False)


async def test_figures_come_by_the_clock() -> None:
    async with running(FAST.model_copy(update={"stats_interval": 0.05})) as service, service.connection() as talk:
        await started(talk)
        heard = await talk.hear_until(SessionStats)
        heard += await talk.hear_until(SessionStats)
        first, second = (item.message for item in heard if isinstance(item.message, SessionStats))
        assert isinstance(first, SessionStats)
        assert isinstance(second, SessionStats)
        assert 0 < first.chunks < second.chunks
        assert second.frames == second.chunks * 12
        assert second.bytes_sent == second.chunks * 1200
        assert second.block_ms == 1.0


async def test_who_finds_no_place_waits_is_told_where_and_starts_in_turn() -> None:
    async with running(ROOMY) as service:
        async with service.connection() as first, service.connection() as second, service.connection() as third:
            await started(first)
            await second.say(START)
            assert (await second.hear()).message == SessionQueued(position=1, waiting=1)
            await third.say(START)
            assert (await third.hear()).message == SessionQueued(position=2, waiting=2)
            await third.say(SessionControl(action="pause"))
            assert (await third.error()).code == ErrorCode.SESSION_NOT_STARTED
            await first.say(SessionStop())
            await second.hear_until(VideoStart)
            assert (await third.hear()).message == SessionQueued(position=1, waiting=1)
            await third.say(SessionStop())
            done = (await third.hear()).message
            assert isinstance(done, SessionDone)
            assert (done.reason, done.chunks) == ("stopped", 0)
            assert await third.closed() == CloseCode.NORMAL
        await free(service)


async def free(service: Running) -> None:
    async with asyncio.timeout(20):
        while service.client.sessions or service.client.waiting or len(service.state.connections):
            await asyncio.sleep(0.005)
    assert service.worker.worker.sessions == {}


async def test_who_vanishes_while_waiting_leaves_no_trace() -> None:
    async with running(ROOMY) as service:
        async with service.connection() as first, service.connection() as second, service.connection() as third:
            await started(first)
            for talk in (second, third):
                await talk.say(START)
                await talk.hear_until(SessionQueued)
            second.socket.transport.abort()
            assert (await third.hear()).message == SessionQueued(position=1, waiting=1)
        await free(service)


async def test_draining_is_announced_and_a_session_may_end_by_itself() -> None:
    async with running(FAST.model_copy(update={"drain_grace": 10.0})) as service, service.connection() as talk:
        await started(talk)
        service.server.should_exit = True
        draining = (await talk.hear_until(SessionDraining))[-1].message
        assert draining == SessionDraining(deadline_seconds=10.0)
        await talk.say(SessionStop())
        done = (await talk.hear_until(SessionDone))[-1].message
        assert isinstance(done, SessionDone)
        assert done.reason == "stopped"


async def backlog(service: Running) -> None:
    """Waits until the worker has made more than a slow client could have taken."""
    async with asyncio.timeout(20):
        while all(session.sequence < 60 for session in service.worker.worker.sessions.values()):
            await asyncio.sleep(0.005)


async def test_drop_keeps_the_rate_the_order_and_a_bound() -> None:
    """The client reads nothing at first: the worker goes on, and what waits is one chunk and the rest thinned."""
    config = FAST.model_copy(update={"stats_interval": 0.05, "control_queue": 256})
    async with running(config, frame_bytes=200_000) as service, service.connection() as talk:
        await talk.say(START.model_copy(update={"slow_consumer": "drop"}))
        await backlog(service)
        assert service.state.connections.waiting().bytes <= 2 * 12 * 200_000
        heard = [await talk.hear() for _ in range(70)]
        heard += await talk.hear_until(SessionWarning)
        chunks = chunks_of(heard)
        assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
        assert {chunk.num_frames + chunk.dropped_frames for chunk in chunks} == {12}
        warnings = [item.message for item in heard if isinstance(item.message, SessionWarning)]
        assert warnings[-1].code == "frames_dropped"
        assert warnings[-1].count
        assert sum(chunk.dropped_frames for chunk in chunks) >= warnings[-1].count
        talk.socket.transport.abort()


async def test_disconnect_ends_the_session_of_a_client_that_is_too_slow() -> None:
    config = FAST.model_copy(update={"slow_consumer_timeout": 0.2})
    async with running(config, frame_bytes=200_000) as service, service.connection() as talk:
        await talk.say(START.model_copy(update={"slow_consumer": "disconnect"}))
        async with asyncio.timeout(20):
            while not service.worker.worker.sessions:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.4)
        error = await talk.error()
        assert (error.code, error.fatal, error.retryable) == (ErrorCode.SLOW_CONSUMER, True, True)
        assert await talk.closed() == CloseCode.POLICY
        await free(service)


async def test_disconnect_leaves_a_quick_client_alone() -> None:
    config = FAST.model_copy(update={"slow_consumer_timeout": 20.0, "stats_interval": 0.1})
    async with running(config) as service, service.connection() as talk:
        await started(talk, START.model_copy(update={"slow_consumer": "disconnect"}))
        for _ in range(5):
            await talk.hear_until(SessionStats)
