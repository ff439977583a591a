"""Viewers and direction, over real sockets: who hears what, who may say what, and how it is handed over."""

from service.errors import ErrorCode
from service.protocol.client import (
    SessionControl,
    SessionDirect,
    SessionInteraction,
    SessionJoin,
    SessionPing,
    SessionResume,
    SessionStop,
)
from service.protocol.server import (
    ChunkMetadata,
    InteractionApplied,
    MediaInit,
    SessionControlApplied,
    SessionDirection,
    SessionDone,
    SessionPong,
    SessionResumed,
    SessionStats,
    VideoStart,
)
from tests.service.api.running import FAST, PATIENT, Talk, running
from tests.service.api.test_resume import START, begun, chunks, sequences

CALM = START.model_copy(update={"max_seconds": None})


async def joined(talk: Talk, session: str, **fields: object) -> VideoStart:
    await talk.say(SessionJoin(session_id=session).model_copy(update=fields))
    start, media = [(await talk.hear()).message for _ in range(2)]
    assert isinstance(start, VideoStart), start
    assert isinstance(media, MediaInit)
    assert (start.role, start.resume_token) == ("viewer", None)
    return start


async def direction(talk: Talk) -> SessionDirection:
    message = (await talk.hear_until(SessionDirection))[-1].message
    assert isinstance(message, SessionDirection)
    return message


async def test_viewers_hear_the_same_chunks_from_the_next_one_on() -> None:
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as viewer:
        start = await begun(talk)
        await chunks(talk, 3)
        service.worker.streaming = False
        theirs = await joined(viewer, start.session_id, slow_consumer="pause")
        assert theirs.next_sequence >= 3
        service.worker.streaming = True
        seen = await chunks(viewer, 5)
        assert sequences(seen) == list(range(theirs.next_sequence, theirs.next_sequence + 5))
        stored = await service.store.chunks(start.session_id)
        assert [chunk.frames_sha256 for chunk in seen] == [stored[n].frames_sha256 for n in sequences(seen)]
        await talk.hear_until(SessionStats)
        await talk.say(SessionStop())
        for one in (talk, viewer):
            done = (await one.hear_until(SessionDone))[-1].message
            assert isinstance(done, SessionDone)
            assert done.reason == "stopped"


async def test_a_viewer_that_leaves_changes_nothing_for_others() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        async with service.connection() as viewer:
            await joined(viewer, start.session_id)
            await chunks(viewer, 1)
            await viewer.say(SessionStop())
            done = (await viewer.hear_until(SessionDone))[-1].message
            assert isinstance(done, SessionDone)
            assert done.reason == "left"
        async with service.connection() as viewer:
            await joined(viewer, start.session_id)
            viewer.socket.transport.abort()
        await chunks(talk, 5)
        assert service.client.sessions == 1


async def test_a_viewer_that_reads_nothing_holds_nobody_up() -> None:
    async with running(PATIENT, frame_bytes=20_000) as service, service.connection() as talk:
        start = await begun(talk)
        async with service.connection() as slow:
            await joined(slow, start.session_id, slow_consumer="pause")
            heard = await chunks(talk, 60)
            assert {chunk.dropped_frames for chunk in heard} == {0}
            slow.socket.transport.abort()


async def test_viewers_watch_and_do_not_direct() -> None:
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as viewer:
        start = await begun(talk)
        await joined(viewer, start.session_id)
        for message in (
            SessionInteraction(event_id="e", prompt="a"),
            SessionControl(action="pause"),
            SessionDirect(action="offer"),
        ):
            await viewer.say(message)
            error = await viewer.error()
            assert (error.code, error.fatal) == (ErrorCode.NOT_DIRECTOR, False)
        await viewer.say(SessionDirect(action="take"))
        assert (await viewer.error()).code == ErrorCode.DIRECTION_NOT_OFFERED


async def test_what_cannot_be_joined_says_why_and_something_else_may_be() -> None:
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as viewer:
        start = await begun(talk)
        await viewer.say(SessionJoin(session_id="unknown"))
        assert (await viewer.error()).code == ErrorCode.SESSION_UNKNOWN
        await viewer.say(SessionJoin(session_id=start.session_id, format="png"))
        assert (await viewer.error()).code == ErrorCode.FORMAT_MISMATCH
        await joined(viewer, start.session_id, format="jpeg")


async def test_shared_direction_is_everybodys() -> None:
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as viewer:
        start = await begun(talk, START.model_copy(update={"shared_direction": True}))
        assert (await joined(viewer, start.session_id)).shared_direction
        await viewer.say(SessionInteraction(event_id="theirs", prompt="a storm"))
        for one in (talk, viewer):
            applied = (await one.hear_until(InteractionApplied))[-1].message
            assert isinstance(applied, InteractionApplied)
            assert applied.event_id == "theirs"


async def test_direction_is_offered_and_taken_with_its_token() -> None:
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as viewer:
        start = await begun(talk)
        await joined(viewer, start.session_id)
        await talk.say(SessionDirect(action="offer"))
        offered = SessionDirection(role="viewer", offered=True)
        assert await direction(viewer) == offered
        assert (await direction(talk)).role == "director"
        await viewer.say(SessionDirect(action="take"))
        mine = await direction(viewer)
        assert (mine.role, mine.offered) == ("director", False)
        assert await direction(talk) == SessionDirection(role="viewer", offered=False)
        await talk.say(SessionControl(action="pause"))
        assert (await talk.error()).code == ErrorCode.NOT_DIRECTOR
        await viewer.say(SessionControl(action="pause"))
        await viewer.hear_until(SessionControlApplied)
        async with service.connection() as other:
            assert start.resume_token is not None
            await other.say(SessionResume(session_id=start.session_id, resume_token=start.resume_token))
            assert (await other.error()).code == ErrorCode.RESUME_TOKEN_INVALID
            assert mine.resume_token is not None
            await other.say(SessionResume(session_id=start.session_id, resume_token=mine.resume_token))
            await other.hear_until(SessionResumed)


async def test_direction_that_was_given_up_is_anybodys_and_the_session_waits_for_one() -> None:
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as viewer:
        start = await begun(talk)
        await joined(viewer, start.session_id)
        await talk.say(SessionDirect(action="release"))
        assert await direction(talk) == SessionDirection(role="viewer", offered=True)
        assert await direction(viewer) == SessionDirection(role="viewer", offered=True)
        await viewer.say(SessionDirect(action="take"))
        assert (await direction(viewer)).role == "director"
        await viewer.say(SessionPing(id="on"))
        await viewer.hear_until(SessionPong)
        await chunks(viewer, 5)
        await chunks(talk, 5)


async def test_viewers_hear_the_end_of_a_session_whose_director_does_not_come_back() -> None:
    async with running(FAST) as service, service.connection() as viewer:
        async with service.connection() as talk:
            start = await begun(talk)
            await joined(viewer, start.session_id)
            talk.socket.transport.abort()
        done = (await viewer.hear_until(SessionDone))[-1].message
        assert isinstance(done, SessionDone)
        assert done.reason == "stopped"


async def test_to_seek_to_what_is_live_passes_over_frames_but_no_number() -> None:
    async with running(PATIENT, frame_bytes=20_000) as service, service.connection() as talk:
        start = await begun(talk)
        async with service.connection() as viewer:
            await joined(viewer, start.session_id, slow_consumer="pause")
            await chunks(talk, 60)
            await viewer.say(SessionControl(action="seek_live", event_id="now"))
            heard = await viewer.hear_until(SessionControlApplied)
            answer = heard[-1].message
            assert isinstance(answer, SessionControlApplied)
            assert (answer.action, answer.event_id) == ("seek_live", "now")
            while not (isinstance(heard[-1].message, ChunkMetadata) and heard[-1].message.sequence >= answer.sequence):
                heard.append(await viewer.hear())
            seen = [item.message for item in heard if isinstance(item.message, ChunkMetadata)]
            assert sequences(seen) == list(range(seen[0].sequence, answer.sequence + 1))
            assert seen[-1].dropped_frames == 0
            assert any(chunk.dropped_frames for chunk in seen)
