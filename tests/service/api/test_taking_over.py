"""A session goes on at another server, or at the next start: over real sockets, with fake workers, on one store."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from service import ipc
from service.errors import CloseCode, ErrorCode
from service.protocol.client import SessionInteraction, SessionJoin, SessionResume, SessionStart
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    InteractionApplied,
    InteractionQueued,
    SessionDraining,
    SessionResumed,
    VideoDiscard,
    VideoStart,
)
from tests.service.api.running import PATIENCE, PATIENT, Received, Running, Talk, running

HANDING = PATIENT.model_copy(update={"drain_handover": "always"})
START = SessionStart(prompt="a lighthouse", seed=5, pacing="none", event_id="first")


@dataclass
class Left:
    """A session whose server has let go of it: what its director knows."""

    session: str
    token: str
    chunks: list[ChunkMetadata]
    close: int

    def word(self, last: int | None) -> SessionResume:
        return SessionResume(session_id=self.session, resume_token=self.token, last_sequence=last)


async def left(folder: Path, *, chunks: int = 4) -> Left:
    """Begin a session, hear so many chunks at least, and shut the server down under it."""
    async with AsyncExitStack() as stack:
        async with running(HANDING, store_folder=folder) as service:
            socket: ClientConnection = await stack.enter_async_context(connect(service.url, max_size=None))
            talk = Talk(socket)
            await talk.say(START)
            begun = (await talk.hear_until(VideoStart))[-1].message
            assert isinstance(begun, VideoStart)
            heard: list[Received] = []
            while sum(isinstance(item.message, ChunkMetadata) for item in heard) < chunks:
                heard.append(await talk.hear())
        close = await _to_the_end(talk, heard)
    assert begun.resume_token is not None
    assert isinstance(heard[-1].message, SessionDraining)
    return Left(begun.session_id, begun.resume_token, _chunks(heard), close)


async def _to_the_end(talk: Talk, heard: list[Received]) -> int:
    while not (isinstance(heard[-1].message, SessionDraining) and heard[-1].message.deadline_seconds == 0):
        heard.append(await talk.hear())
    while talk.socket.close_code is None:
        try:
            heard.append(await talk.hear())
        except Exception:
            break
    return await talk.closed()


def _chunks(heard: list[Received]) -> list[ChunkMetadata]:
    return [item.message for item in heard if isinstance(item.message, ChunkMetadata)]


async def until_chunk(talk: Talk, sequence: int) -> list[Received]:
    heard = await talk.hear_until(ChunkMetadata)
    while _chunks(heard)[-1].sequence < sequence:
        heard += await talk.hear_until(ChunkMetadata)
    return heard


async def test_a_draining_server_lets_go_and_the_next_one_goes_on_with_what_had_not_arrived(tmp_path: Path) -> None:
    before = await left(tmp_path)
    assert before.close == CloseCode.RESTART
    stored = before.chunks[-1].sequence + 1
    async with running(HANDING, store_folder=tmp_path) as service, service.connection() as talk:
        await talk.say(before.word(last=1))
        heard = await talk.hear_until(VideoDiscard)
        resumed = next(item.message for item in heard if isinstance(item.message, SessionResumed))
        discard = heard[-1].message
        assert isinstance(discard, VideoDiscard)
        assert (resumed.cause, resumed.resume_token is not None, resumed.missing) == ("connection", True, None)
        assert (discard.from_sequence, discard.reason) == (2, "resume")
        assert discard.next_sequence == resumed.next_sequence >= stored
        chunks = _chunks(await until_chunk(talk, discard.next_sequence + 3))
        assert [(chunk.sequence - discard.next_sequence, chunk.block) for chunk in chunks] == [
            (number, number + 2) for number in range(4)
        ]
        (start,) = [command for command in service.worker.worker.commands if isinstance(command, ipc.Start)]
        assert start.course is not None
        assert (len(start.course.blocks), start.course.sequence) == (2, discard.next_sequence)
        assert (await service.store.get(before.session)).live


async def test_whoever_has_everything_hears_no_discard(tmp_path: Path) -> None:
    before = await left(tmp_path)
    async with running(HANDING, store_folder=tmp_path) as service, service.connection() as talk:
        last = (await service.store.get(before.session)).next_sequence - 1
        await talk.say(before.word(last))
        heard = await until_chunk(talk, last + 1)
        assert not any(isinstance(item.message, VideoDiscard) for item in heard)
        assert _chunks(heard)[0].sequence == last + 1


async def test_a_token_is_good_once_and_a_wrong_one_never(tmp_path: Path) -> None:
    before = await left(tmp_path)
    async with running(HANDING, store_folder=tmp_path) as service:
        async with service.connection() as stranger:
            await stranger.say(SessionResume(session_id=before.session, resume_token="other"))
            assert (await stranger.error()).code == ErrorCode.RESUME_TOKEN_INVALID
        async with service.connection() as talk:
            await talk.say(before.word(last=10_000))
            assert (await talk.error()).code == ErrorCode.FIELD_RANGE
            await talk.say(before.word(last=1))  # a refusal has not used it up
            heard = await talk.hear_until(SessionResumed)
            await until_chunk(talk, heard[-1].message.next_sequence)  # type: ignore[union-attr]
            await talk.say(SessionInteraction(event_id="a", prompt="a storm"))  # whoever says something has the next
            await talk.hear_until(InteractionApplied)
            async with service.connection() as other:
                await other.say(before.word(last=1))
                assert (await other.error()).code == ErrorCode.RESUME_TOKEN_INVALID


async def test_while_no_worker_is_there_the_client_is_told_to_come_again_and_keeps_its_token(tmp_path: Path) -> None:
    before = await left(tmp_path)
    async with running(HANDING, store_folder=tmp_path) as service:
        service.kill_worker()
        async with service.connection() as talk:
            await talk.say(before.word(last=1))
            error = await talk.error()
            assert (error.code, error.retryable) == (ErrorCode.WORKER_UNAVAILABLE, True)
        await service.new_worker()
        async with service.connection() as talk:
            await talk.say(before.word(last=1))
            await talk.hear_until(SessionResumed)


async def test_a_viewer_who_is_first_is_told_to_come_again(tmp_path: Path) -> None:
    """What a server that shares the store leaves live is live; here, a session that this one let go of itself."""
    async with running(HANDING, store_folder=tmp_path) as service:
        session, token = await _let_go(service)
        async with service.connection() as viewer:
            await viewer.say(SessionJoin(session_id=session))
            error = await viewer.error()
            assert (error.code, error.fatal, error.retryable) == (ErrorCode.SESSION_ELSEWHERE, True, True)
            assert await viewer.closed() == CloseCode.TRY_LATER
        async with service.connection() as director:
            await director.say(SessionResume(session_id=session, resume_token=token))
            await director.hear_until(SessionResumed)
            async with service.connection() as viewer:
                await viewer.say(SessionJoin(session_id=session))
                await viewer.hear_until(VideoStart)


async def _let_go(service: Running) -> tuple[str, str]:
    async with service.connection() as talk:
        await talk.say(START)
        begun = (await talk.hear_until(VideoStart))[-1].message
        assert isinstance(begun, VideoStart)
        await until_chunk(talk, 2)
        await service.state.hubs.let_go(PATIENCE)
    assert begun.resume_token is not None
    return begun.session_id, begun.resume_token


async def test_a_prompt_of_blocks_that_come_again_is_said_to_apply_to_who_asks_again(tmp_path: Path) -> None:
    prompt = SessionInteraction(event_id="storm", prompt="a storm")
    async with running(HANDING, store_folder=tmp_path) as service:
        async with service.connection() as talk:
            await talk.say(START)
            begun = (await talk.hear_until(VideoStart))[-1].message
            assert isinstance(begun, VideoStart)
            await until_chunk(talk, 2)
            await talk.say(prompt)
            applied = (await talk.hear_until(InteractionApplied))[-1].message
            assert isinstance(applied, InteractionApplied)
            await until_chunk(talk, applied.sequence)
            await service.state.hubs.let_go(PATIENCE)
        assert begun.resume_token is not None
        service.worker.streaming = False
        async with service.connection() as talk:
            word = SessionResume(session_id=begun.session_id, resume_token=begun.resume_token, last_sequence=1)
            await talk.say(word)
            await talk.hear_until(VideoDiscard)
            await talk.say(prompt)
            await talk.hear_until(InteractionQueued)
            commands = [command for command in service.worker.worker.commands if isinstance(command, ipc.Interact)]
            assert len(commands) == 1  # of the first time: it is in the course now
            start = next(c for c in reversed(service.worker.worker.commands) if isinstance(c, ipc.Start))
            assert start.course is not None
            assert any("storm" in event for event in start.course.waiting)


async def test_without_hand_over_a_session_ends_as_before(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with running(PATIENT, store_folder=tmp_path) as service:
            talk = Talk(await stack.enter_async_context(connect(service.url, max_size=None)))
            await talk.say(START)
            await until_chunk(talk, 1)
            (session,) = [record.id for record in (await service.store.list()).records]
        async with asyncio.timeout(PATIENCE):
            await talk.socket.wait_closed()
    async with running(PATIENT, store_folder=tmp_path) as service:
        assert (await service.store.get(session)).end_reason == "drained"
        async with service.connection() as talk:
            await talk.say(SessionResume(session_id=session, resume_token="x"))
            error = await talk.error()
            assert isinstance(error, ErrorMessage)
            assert error.code in (ErrorCode.SESSION_ENDED, ErrorCode.RESUME_TOKEN_INVALID)
