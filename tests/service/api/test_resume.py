"""Sessions that outlive a connection, over real sockets: every chunk once, the token's one use, the grace."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from service import ipc
from service.errors import CloseCode, ErrorCode
from service.protocol.client import (
    SessionControl,
    SessionInteraction,
    SessionPing,
    SessionResume,
    SessionStart,
    SessionStop,
)
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    InteractionApplied,
    MediaInit,
    SessionControlApplied,
    SessionDone,
    SessionPong,
    SessionResumed,
    VideoStart,
)
from tests.service.api.running import FAST, PATIENCE, PATIENT, Received, Running, Talk, running

START = SessionStart(prompt="a lighthouse", seed=5, pacing="none")


async def begun(talk: Talk, start: SessionStart = START) -> VideoStart:
    await talk.say(start)
    heard = (await talk.hear_until(VideoStart, ErrorMessage))[-1].message
    assert isinstance(heard, VideoStart), heard
    return heard


def resume(start: VideoStart, last: int | None, **fields: object) -> SessionResume:
    assert start.resume_token is not None
    message = SessionResume(session_id=start.session_id, resume_token=start.resume_token, last_sequence=last)
    return message.model_copy(update=fields)


async def resumed(talk: Talk, message: SessionResume) -> tuple[VideoStart, SessionResumed]:
    """What a connection that goes on is told first, in order."""
    await talk.say(message)
    start, media, answer = [(await talk.hear()).message for _ in range(3)]
    assert isinstance(start, VideoStart), start
    assert isinstance(media, MediaInit)
    assert isinstance(answer, SessionResumed)
    assert (start.role, start.resume_token) == ("director", answer.resume_token)
    assert start.next_sequence == media.sequence == answer.next_sequence
    return start, answer


async def chunks(talk: Talk, count: int) -> list[ChunkMetadata]:
    heard: list[ChunkMetadata] = []
    while len(heard) < count:
        message = (await talk.hear_until(ChunkMetadata))[-1].message
        assert isinstance(message, ChunkMetadata)
        heard.append(message)
    return heard


def sequences(heard: Sequence[ChunkMetadata]) -> list[int]:
    return [chunk.sequence for chunk in heard]


async def lost(service: Running, talk: Talk) -> None:
    """The connection is cut, and the server has noticed."""
    open_before = len(service.state.connections)
    talk.socket.transport.abort()
    async with asyncio.timeout(PATIENCE):
        while len(service.state.connections) == open_before:
            await asyncio.sleep(0.002)


async def test_after_a_cut_every_chunk_that_did_not_come_comes_in_order() -> None:
    async with running(PATIENT) as service:
        async with service.connection() as talk:
            start = await begun(talk)
            first = await chunks(talk, 5)
            await lost(service, talk)
        async with service.connection() as talk:
            # Of five that came, two are said not to have: they are sent again.
            _, answer = await resumed(talk, resume(start, 2))
            assert (answer.cause, answer.next_sequence, answer.missing) == ("connection", 3, None)
            again = await chunks(talk, 10)
            assert sequences(again) == list(range(3, 13))
            assert [chunk.frames_sha256 for chunk in again[:2]] == [chunk.frames_sha256 for chunk in first[3:]]
            await talk.say(SessionStop())
            done = (await talk.hear_until(SessionDone))[-1].message
            assert isinstance(done, SessionDone)
        record = await service.store.get(start.session_id)
        assert (record.end_reason, record.next_sequence) == ("stopped", done.chunks)
        assert sum(isinstance(command, ipc.Start) for command in service.worker.worker.commands) == 1


async def test_generation_stops_at_its_lead_while_the_director_is_gone() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk, START.model_copy(update={"buffer_seconds": 3.0}))
        await chunks(talk, 2)
        await lost(service, talk)
        (held,) = service.worker.worker.sessions.values()
        async with asyncio.timeout(PATIENCE):
            while held.credits:
                await asyncio.sleep(0.005)
        assert held.start.credits == PATIENT.session_credits + 4  # 3 s of blocks of 0.75 s
        made = held.sequence
        for _ in range(50):
            await asyncio.sleep(0)
        assert held.sequence == made
        async with service.connection() as back:
            _, answer = await resumed(back, resume(start, 1))
            assert answer.next_sequence == 2
            assert sequences(await chunks(back, 20)) == list(range(2, 22))


async def test_an_unattended_session_goes_on_to_its_end_without_anybody() -> None:
    async with running(FAST) as service:
        async with service.connection() as talk:
            start = await begun(talk, START.model_copy(update={"unattended": True, "max_seconds": 30.0}))
        async with asyncio.timeout(PATIENCE):
            while (record := await service.store.get(start.session_id)).live:
                await asyncio.sleep(0.01)
        assert (record.end_reason, record.next_sequence) == ("completed", 40)


@pytest.mark.parametrize("way", ["used", "wrong", "another's"])
async def test_a_token_is_good_for_one_use_and_one_session(way: str) -> None:
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as other:
        start, theirs = await begun(talk), await begun(other)
        token = start.resume_token
        async with service.connection() as back:
            if way == "used":
                await resumed(back, resume(start, None))
                # Until something comes over the new connection, its token may not have arrived there.
                await back.say(SessionPing(id="here"))
                await back.hear_until(SessionPong)
            async with service.connection() as late:
                wrong = {"used": token, "wrong": "x", "another's": theirs.resume_token}[way]
                await late.say(resume(start, None, resume_token=wrong))
                error = await late.error()
                assert (error.code, error.fatal) == (ErrorCode.RESUME_TOKEN_INVALID, False)
                # A refused try leaves the connection open for another.
                await begun(late)


async def test_an_answer_that_was_lost_does_not_lose_the_session() -> None:
    """The token is used up, but the next one never arrives: the old one opens the session again."""
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        for _ in range(3):
            async with service.connection() as back:
                await back.say(resume(start, None))
                await back.hear()
                back.socket.transport.abort()
        async with service.connection() as back:
            await resumed(back, resume(start, None))


async def test_a_session_that_nobody_knows_or_that_has_ended_says_so() -> None:
    """Its last words can be heard again for the grace, and no longer."""
    async with running(FAST) as service:
        async with service.connection() as talk:
            start = await begun(talk)
            await talk.say(SessionStop())
            await talk.hear_until(SessionDone)
        heard: Sequence[Received] = ()
        while not (heard and isinstance(heard[-1].message, ErrorMessage)):
            async with service.connection() as late:
                await late.say(resume(start, None))
                heard = await late.hear_until(SessionDone, ErrorMessage)
        assert isinstance(heard[-1].message, ErrorMessage)
        assert heard[-1].message.code == ErrorCode.SESSION_ENDED
        async with service.connection() as late:
            await late.say(resume(start, None, session_id="unknown"))
            assert (await late.error()).code == ErrorCode.SESSION_UNKNOWN


async def test_what_a_session_said_when_nobody_heard_it_is_said_again() -> None:
    """It comes to its end while the connection is lost: the last chunks and session.done are not."""
    async with running(PATIENT) as service:
        async with service.connection() as talk:
            start = await begun(talk, START.model_copy(update={"max_seconds": 3.0, "unattended": True}))
            talk.socket.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while (record := await service.store.get(start.session_id)).live:
                await asyncio.sleep(0.01)
        assert record.end_reason == "completed"
        async with service.connection() as back:
            await back.say(resume(start, None))
            heard = await back.hear_until(SessionDone, ErrorMessage)
        numbers = [found.message.sequence for found in heard if isinstance(found.message, ChunkMetadata)]
        assert numbers == list(range(4))


async def test_a_chunk_that_the_session_has_not_come_to_is_refused_and_uses_nothing_up() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        async with service.connection() as back:
            await back.say(resume(start, 10**6))
            error = await back.error()
            assert (error.code, error.field) == (ErrorCode.FIELD_RANGE, "last_sequence")
            await resumed(back, resume(start, None))


async def test_a_connection_that_lives_still_is_replaced_and_told() -> None:
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as back:
        start = await begun(talk)
        await resumed(back, resume(start, None))
        error = await talk.error()
        assert (error.code, error.fatal) == (ErrorCode.CONNECTION_REPLACED, True)
        assert await talk.closed() == CloseCode.POLICY
        await chunks(back, 5)
        await back.say(SessionPing(id="on"))
        assert (await back.hear_until(SessionPong))[-1].message == SessionPong(id="on")


async def test_what_is_no_longer_kept_is_told_as_missing() -> None:
    config = PATIENT.model_copy(update={"replay_max_bytes": 0})
    async with running(config) as service:
        async with service.connection() as talk:
            start = await begun(talk)
            await chunks(talk, 12)
            await lost(service, talk)
        async with service.connection() as talk:
            _, answer = await resumed(talk, resume(start, 3))
            assert answer.missing is not None
            assert (answer.missing.from_sequence, answer.missing.to_sequence) == (4, answer.next_sequence - 1)
            again = await chunks(talk, 6)
            assert sequences(again) == list(range(answer.next_sequence, answer.next_sequence + 6))
            assert {chunk.dropped_frames for chunk in again} == {0}


async def test_after_the_grace_the_session_has_ended_and_its_place_is_free() -> None:
    async with running(FAST.model_copy(update={"max_sessions": 1})) as service:
        async with service.connection() as talk:
            start = await begun(talk)
            await lost(service, talk)
        async with asyncio.timeout(PATIENCE):
            while service.client.sessions or (await service.store.get(start.session_id)).live:
                await asyncio.sleep(0.005)
        assert (await service.store.get(start.session_id)).end_reason == "stopped"
        async with service.connection() as talk:
            await begun(talk)


async def test_who_closes_in_order_needs_no_grace() -> None:
    async with running(PATIENT) as service:
        async with service.connection() as talk:
            await begun(talk)
        async with asyncio.timeout(PATIENCE):
            while service.client.sessions:
                await asyncio.sleep(0.005)


async def test_what_was_said_after_the_last_chunk_is_said_again() -> None:
    async with running(PATIENT) as service:
        async with service.connection() as talk:
            start = await begun(talk)
            await talk.say(SessionControl(action="pause", event_id="p"))
            heard = await talk.hear_until(SessionControlApplied)
            last = max(
                [item.message.sequence for item in heard if isinstance(item.message, ChunkMetadata)], default=None
            )
            await talk.say(SessionInteraction(event_id="e", prompt="a storm"))
            await talk.say(SessionPing())
            await talk.hear_until(SessionPong)
            await lost(service, talk)
        async with service.connection() as talk:
            await resumed(talk, resume(start, last))
            await talk.hear_until(SessionControlApplied)
            await talk.say(SessionControl(action="resume"))
            applied = (await talk.hear_until(InteractionApplied))[-1].message
            assert isinstance(applied, InteractionApplied)
            assert applied.event_id == "e"


async def test_an_ended_session_goes_on_where_it_was_with_a_token_of_the_registry() -> None:
    async with running(PATIENT) as service:
        async with service.connection() as talk:
            start = await begun(talk)
            await chunks(talk, 3)
            await talk.say(SessionStop())
            done = (await talk.hear_until(SessionDone))[-1].message
            assert isinstance(done, SessionDone)
        token = await service.state.hubs.issue_token(start.session_id)
        async with service.connection() as talk:
            await talk.say(SessionResume(session_id=start.session_id, resume_token=token))
            again = (await talk.hear_until(VideoStart))[-1].message
            assert isinstance(again, VideoStart)
            assert (again.session_id, again.seed, again.next_sequence) == (start.session_id, start.seed, done.chunks)
            assert sequences(await chunks(talk, 3)) == list(range(done.chunks, done.chunks + 3))
        (*_, command) = [one for one in service.worker.worker.commands if isinstance(one, ipc.Start)]
        assert command.course is not None
        assert (len(command.course.blocks), command.course.sequence) == (done.chunks, done.chunks)


async def test_disconnect_and_reconnect_in_any_order_lose_and_double_nothing() -> None:
    """A part of tests/bench/drops.py: connections that are cut before, after or never when another goes on."""
    async with running(PATIENT) as service, AsyncExitStack() as stack:
        talk = await stack.enter_async_context(service.connection())
        start = await begun(talk)
        last = sequences(await chunks(talk, 2))[-1]
        for turn in range(30):
            if turn % 3 == 0:
                talk.socket.transport.abort()
            back = await stack.enter_async_context(service.connection())
            start, answer = await resumed(back, resume(start, last))
            if turn % 3 == 1:
                talk.socket.transport.abort()
            assert (answer.next_sequence, answer.missing) == (last + 1, None)
            heard = sequences(await chunks(back, 1 + turn % 4))
            assert heard == list(range(last + 1, last + 1 + len(heard)))
            talk, last = back, heard[-1]
        assert service.client.sessions == 1
