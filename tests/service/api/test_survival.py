"""Sessions that outlive a worker, over real sockets and with fake workers: nothing missing, nothing twice, told."""

import asyncio

import pytest

from service import ipc
from service.errors import ErrorCode
from service.protocol.client import SessionControl, SessionInteraction, SessionStart, SessionStop
from service.protocol.server import (
    ChunkMetadata,
    InteractionApplied,
    InteractionQueued,
    MediaInit,
    SessionControlApplied,
    SessionDone,
    SessionResumed,
    SessionWarning,
    VideoStart,
    WorkerRestarting,
)
from tests.service.api.running import FAST, PATIENCE, PATIENT, Received, Running, Talk, running

START = SessionStart(prompt="a lighthouse", seed=5, pacing="none", event_id="first")


async def begun(talk: Talk, start: SessionStart = START) -> VideoStart:
    await talk.say(start)
    heard = (await talk.hear_until(VideoStart))[-1].message
    assert isinstance(heard, VideoStart)
    return heard


def of(kind: type, heard: list[Received]) -> list[object]:
    return [item.message for item in heard if isinstance(item.message, kind)]


async def until_chunk(talk: Talk, sequence: int) -> list[Received]:
    heard = await talk.hear_until(ChunkMetadata)
    while heard[-1].message.sequence < sequence:  # type: ignore[union-attr]
        heard += await talk.hear_until(ChunkMetadata)
    return heard


def starts(service: Running) -> list[ipc.Start]:
    return [command for command in service.worker.worker.commands if isinstance(command, ipc.Start)]


async def test_the_next_worker_goes_on_where_the_one_before_was() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        heard = await until_chunk(talk, 3)
        service.kill_worker("its process was killed by SIGKILL")
        heard += await talk.hear_until(WorkerRestarting)
        assert "SIGKILL" in heard[-1].message.message  # type: ignore[union-attr]
        await service.new_worker()
        heard += await talk.hear_until(SessionResumed)
        resumed = heard[-1].message
        assert isinstance(resumed, SessionResumed)
        assert (resumed.cause, resumed.resume_token, resumed.missing) == ("worker", None, None)
        heard += await until_chunk(talk, resumed.next_sequence + 5)
        chunks = of(ChunkMetadata, heard)
        assert [(chunk.sequence, chunk.block) for chunk in chunks] == [(n, n) for n in range(len(chunks))]  # type: ignore[attr-defined]
        (again,) = starts(service)
        assert again.course is not None
        assert (again.seed, again.event_id, len(again.course.blocks)) == (5, "", resumed.next_sequence)
        assert again.course.sequence == resumed.next_sequence
        assert again.credits <= PATIENT.session_credits
        await talk.say(SessionStop())
        await talk.hear_until(SessionDone)
        stored = await service.store.chunks(start.session_id)
        assert [row.frames_sha256 for row in stored[: len(chunks)]] == [chunk.frames_sha256 for chunk in chunks]  # type: ignore[attr-defined]


async def test_a_prompt_without_an_answer_is_given_to_the_next_worker_and_ends_once() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        await begun(talk)
        await until_chunk(talk, 2)
        await talk.say(SessionInteraction(event_id="later", prompt="a storm", at=1e6))
        await talk.hear_until(InteractionQueued)
        service.kill_worker()
        await talk.hear_until(WorkerRestarting)
        await talk.say(SessionInteraction(event_id="meanwhile", prompt="a calm"))
        worker = await service.new_worker()
        heard = await talk.hear_until(InteractionApplied)
        given = [command for command in worker.worker.commands if isinstance(command, ipc.Interact)]
        (again,) = starts(service)
        assert [prompt.event_id for prompt in (*again.interactions, *given)] == ["later", "meanwhile"]
        assert [message.event_id for message in of(InteractionQueued, heard)] == ["meanwhile"]  # type: ignore[attr-defined]
        assert heard[-1].message.event_id == "meanwhile"  # type: ignore[union-attr]


async def test_what_was_paused_stays_so_and_what_was_set_holds() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        await begun(talk)
        await talk.say(SessionControl(action="quality", quality=30))
        await talk.say(SessionControl(action="pause", event_id="p"))
        await talk.hear_until(SessionControlApplied)
        await talk.hear_until(SessionControlApplied)
        service.kill_worker()
        worker = await service.new_worker()
        heard = await talk.hear_until(SessionResumed)
        async with asyncio.timeout(PATIENCE):
            while not any(isinstance(command, ipc.Control) for command in worker.worker.commands):
                await asyncio.sleep(0.002)
        assert starts(service)[0].quality == 30
        await talk.say(SessionControl(action="resume", event_id="r"))
        heard += await talk.hear_until(SessionControlApplied)
        heard += await talk.hear_until(ChunkMetadata)
        assert [message.action for message in of(SessionControlApplied, heard)] == ["resume"]  # type: ignore[attr-defined]
        assert of(MediaInit, heard) == []


async def test_another_engine_is_written_down_and_warned_of() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        await until_chunk(talk, 1)
        service.kill_worker()
        await service.new_worker(fingerprint="another")
        warning = (await talk.hear_until(SessionWarning))[-1].message
        assert isinstance(warning, SessionWarning)
        assert warning.code == "numerics_changed"
        await talk.hear_until(ChunkMetadata)
        notes = [event for event in await service.store.events(start.session_id) if not event.engine]
        assert [("another" in note.text, note.sequence > 0) for note in notes] == [(True, True)]


async def test_a_worker_that_is_lost_before_a_session_began_is_replaced_too() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        service.worker.frozen = True
        await talk.say(START)
        async with asyncio.timeout(PATIENCE):
            while not service.client.sessions:
                await asyncio.sleep(0.002)
        service.kill_worker()
        await talk.hear_until(WorkerRestarting)
        await service.new_worker()
        await talk.hear_until(VideoStart)
        await until_chunk(talk, 2)
        (start,) = starts(service)
        assert (start.course, start.event_id) == (None, "first")


async def test_workers_may_be_lost_again_and_again() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        await begun(talk)
        heard: list[Received] = []
        for _ in range(5):
            heard += await talk.hear_until(ChunkMetadata)
            service.kill_worker()
            await service.new_worker()
        heard += await until_chunk(talk, 20)
        sequences = [chunk.sequence for chunk in of(ChunkMetadata, heard)]  # type: ignore[attr-defined]
        assert sequences == list(range(len(sequences)))


async def test_a_worker_that_is_gone_when_its_first_word_is_heard_leaves_one_record() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        known, service.client.facts_of = service.client.facts_of, lambda session: None  # type: ignore[method-assign]
        await begun(talk)
        await talk.hear_until(ChunkMetadata)
        service.client.facts_of = known  # type: ignore[method-assign]
        service.kill_worker()
        await service.new_worker()
        await talk.hear_until(SessionResumed)
        await talk.hear_until(ChunkMetadata)


@pytest.mark.parametrize("late", ["patience", "given up"])
async def test_where_no_other_worker_comes_every_session_hears_it_once(late: str) -> None:
    config = FAST if late == "patience" else PATIENT
    async with running(config) as service, service.connection() as talk:
        start = await begun(talk)
        service.kill_worker()
        if late == "given up":
            service.client.give_up()
        error = await talk.error()
        assert (error.code, error.fatal, error.retryable) == (ErrorCode.WORKER_DIED, True, True)
        async with asyncio.timeout(PATIENCE):
            while (record := await service.store.get(start.session_id)).live:
                await asyncio.sleep(0.005)
        assert (record.end_reason, service.client.sessions) == ("failed", 0)


async def test_to_stop_while_there_is_no_worker_is_an_end_in_order() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        await begun(talk)
        await until_chunk(talk, 2)
        service.kill_worker()
        await talk.hear_until(WorkerRestarting)
        await talk.say(SessionStop())
        done = (await talk.hear_until(SessionDone))[-1].message
        assert isinstance(done, SessionDone)
        assert (done.reason, done.frames) == ("stopped", done.chunks * 12)
        assert done.journal["events"]
        assert service.client.sessions == 0
