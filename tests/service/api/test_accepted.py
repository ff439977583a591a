"""Prompts that were accepted outlive workers and servers: over real sockets, with fake workers, on one store."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from service import ipc
from service.errors import ErrorCode
from service.protocol.client import SessionInteraction, SessionResume, SessionStart
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    InteractionApplied,
    InteractionQueued,
    InteractionRejected,
    InteractionSuperseded,
    SessionResumed,
    SessionWarning,
    VideoStart,
)
from service.store.failures import StoreFailed
from service.store.prompts import AcceptedPrompt
from tests.service.api.running import PATIENCE, PATIENT, Received, Running, Talk, running

START = SessionStart(prompt="a lighthouse", seed=5, pacing="none", event_id="first")
LATER = SessionInteraction(event_id="later", prompt="a harbour", at=1e6)
STORM = SessionInteraction(event_id="storm", prompt="a storm")


@dataclass
class Begun:
    session: str
    token: str

    def word(self, last: int) -> SessionResume:
        return SessionResume(session_id=self.session, resume_token=self.token, last_sequence=last)


async def begin(talk: Talk) -> Begun:
    await talk.say(START)
    start = (await talk.hear_until(VideoStart))[-1].message
    assert isinstance(start, VideoStart)
    assert start.resume_token is not None
    return Begun(start.session_id, start.resume_token)


async def until_chunk(talk: Talk, sequence: int) -> list[Received]:
    heard = await talk.hear_until(ChunkMetadata)
    while heard[-1].message.sequence < sequence:  # type: ignore[union-attr]
        heard += await talk.hear_until(ChunkMetadata)
    return heard


async def accepted(talk: Talk, prompt: SessionInteraction) -> None:
    await talk.say(prompt)
    await talk.hear_until(InteractionQueued)


def last_start(service: Running) -> ipc.Start:
    return next(command for command in reversed(service.worker.worker.commands) if isinstance(command, ipc.Start))


def said(kind: type, heard: list[Received]) -> list[str]:
    return [str(getattr(item.message, "event_id", "")) for item in heard if isinstance(item.message, kind)]


async def test_a_prompt_is_in_the_store_before_it_is_acknowledged(tmp_path: Path) -> None:
    async with running(PATIENT, store_folder=tmp_path) as service, service.connection() as talk:
        begun = await begin(talk)
        await accepted(talk, LATER)
        (stored,) = await service.store.prompts(begun.session)
        assert (stored.event_id, stored.outcome) == ("later", None)
        assert SessionInteraction.model_validate_json(stored.document) == LATER
        await accepted(talk, LATER)  # asked for again: it is the same one
        assert len(await service.store.prompts(begun.session)) == 1
        await talk.say(STORM)
        applied = (await talk.hear_until(InteractionApplied))[-1].message
        assert isinstance(applied, InteractionApplied)
        ended = {one.event_id: one.sequence for one in await service.store.prompts(begun.session) if one.outcome}
        assert ended["storm"] == applied.sequence


async def test_what_waits_goes_on_at_the_next_server_with_the_start_and_is_told_once(tmp_path: Path) -> None:
    async with running(PATIENT, store_folder=tmp_path) as service:
        async with service.connection() as talk:
            begun = await begin(talk)
            heard = await until_chunk(talk, 3)
            await accepted(talk, LATER)
            await service.state.hubs.let_go(PATIENCE)
        made = (await service.store.get(begun.session)).next_sequence
        async with service.connection() as talk:
            await talk.say(begun.word(last=1))
            heard = await talk.hear_until(SessionResumed)
            (waiting,) = last_start(service).interactions
            assert (waiting.event_id, waiting.at, waiting.not_before) == ("later", LATER.at, made * 0.75)
            assert [prompt.text for prompt in waiting.prompts] == ["a harbour"]
            heard += await until_chunk(talk, made + 2)
            assert said(InteractionQueued, heard) == []  # its client was told before
            await talk.say(LATER)
            heard = await talk.hear_until(InteractionQueued)
            await talk.say(LATER.model_copy(update={"prompt": "another"}))
            assert (await talk.error()).code == ErrorCode.EVENT_ID_CONFLICT
            assert last_start(service).interactions == (waiting,)
            again = [one for one in service.worker.worker.commands if isinstance(one, ipc.Interact)]
            assert len(again) == 1  # of the first time


async def test_a_prompt_for_the_next_block_changes_nothing_that_was_made_before_it(tmp_path: Path) -> None:
    async with running(PATIENT, store_folder=tmp_path) as service:
        async with service.connection() as talk:
            begun = await begin(talk)
            await until_chunk(talk, 3)
            service.worker.streaming = False
            await accepted(talk, STORM)
            await service.state.hubs.let_go(PATIENCE)
        made = (await service.store.get(begun.session)).next_sequence
        service.worker.streaming = True
        async with service.connection() as talk:
            await talk.say(begun.word(last=1))
            applied = (await talk.hear_until(InteractionApplied))[-1].message
            assert isinstance(applied, InteractionApplied)
            assert (applied.event_id, applied.block) == ("storm", made)
            heard = await talk.hear_until(ChunkMetadata)
            assert heard[-1].message.started_event_ids == ("storm",)  # type: ignore[union-attr]


async def test_an_end_that_may_not_have_been_heard_is_told_again(tmp_path: Path) -> None:
    async with running(PATIENT, store_folder=tmp_path) as service:
        async with service.connection() as talk:
            begun = await begin(talk)
            await until_chunk(talk, 3)
            await accepted(talk, LATER)
            await accepted(talk, LATER.model_copy(update={"event_id": "instead"}))  # the fake worker keeps one
            await until_chunk(talk, 8)
            await service.state.hubs.let_go(PATIENCE)
        async with service.connection() as talk:
            await talk.say(begun.word(last=3))
            heard = await talk.hear_until(InteractionSuperseded)
            assert said(InteractionSuperseded, heard) == ["later"]
            assert [one.event_id for one in last_start(service).interactions] == ["instead"]


async def test_a_prompt_whose_chunk_did_not_come_is_given_to_the_next_worker(tmp_path: Path) -> None:
    async with running(PATIENT, store_folder=tmp_path) as service, service.connection() as talk:
        begun = await begin(talk)
        await until_chunk(talk, 2)
        await accepted(talk, LATER)
        sequence = (await service.store.get(begun.session)).next_sequence
        applied = ipc.Applied(
            session=begun.session, event_id="later", sequence=sequence, block=sequence, queued_ms=1.0, latency_ms=1.0
        )
        service.worker.streaming = False
        service.worker.link.emit(applied)
        service.worker.link.emit(ipc.Dead(code="internal_error", message="between the two"))
        heard = await talk.hear_until(SessionResumed) if await _replaced(service) else []
        assert said(InteractionApplied, heard) == []
        assert [one.event_id for one in last_start(service).interactions] == ["later"]


async def _replaced(service: Running) -> bool:
    async with asyncio.timeout(PATIENCE):
        while service.client.loss == "":
            await asyncio.sleep(0.002)
    service.kill_worker()
    await service.new_worker()
    return True


async def test_a_prompt_that_cannot_be_kept_now_goes_on_and_is_kept_later(tmp_path: Path) -> None:
    async with running(PATIENT, store_folder=tmp_path) as service, service.connection() as talk:
        session = (await begin(talk)).session

        async def fails(session: str, prompt: AcceptedPrompt, *, keep: int) -> None:
            raise StoreFailed("the store cannot write: no space")

        keeps, service.store.accept_prompt = service.store.accept_prompt, fails  # type: ignore[method-assign]
        await talk.say(STORM)
        heard = await talk.hear_until(SessionWarning)
        heard += await talk.hear_until(InteractionApplied)
        assert not any(isinstance(item.message, ErrorMessage | InteractionRejected) for item in heard)
        service.worker.streaming = False
        service.store.accept_prompt = keeps  # type: ignore[method-assign]
        await talk.hear_until(SessionWarning)
        assert [prompt.event_id for prompt in await service.store.prompts(session)] == [STORM.event_id]
