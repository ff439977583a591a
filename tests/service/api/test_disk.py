"""Live sessions while the store takes nothing: they go on, all are told once, and it is made good when it does again.

The faults are of a shim: commits that fail, with any number, from any commit on; latents that wait in the worker.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from service import ipc
from service.errors import CloseCode, ErrorCode, WarningCode
from service.protocol.client import SessionCheckpoint, SessionControl, SessionFork, SessionInteraction, SessionStop
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    InteractionApplied,
    SessionCheckpointed,
    SessionControlApplied,
    SessionDone,
    SessionResumed,
    SessionWarning,
    WorkerRestarting,
)
from tests.service.api.running import FAST, PATIENCE, PATIENT, Received, Running, Talk, running
from tests.service.api.test_survival import begun, of, until_chunk

WORDS = ("database or disk is full", "attempt to write a readonly database", "disk I/O error")


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for the store is tried again without much of a pause."""
    monkeypatch.setattr("service.api.ledger.RETRY_SECONDS", 0.02)


@dataclass(slots=True, weakref_slot=True, eq=False)
class Faults:
    """Transactions that write fail at their end: those from `first` on, `lasting` of them, or while `failing`."""

    first: int = 0
    lasting: int = 0
    words: str = WORDS[0]
    failing: bool = False
    seen: int = 0

    def __call__(self, connection: Connection) -> None:
        if not connection.get_execution_options().get("writes"):
            return
        self.seen += 1
        if self.failing or self.first <= self.seen < self.first + self.lasting:
            raise OperationalError("COMMIT", {}, Exception(self.words))


@contextmanager
def faulty(service: Running, faults: Faults) -> Iterator[Faults]:
    event.listen(service.store._engine, "commit", faults)
    yield faults
    event.remove(service.store._engine, "commit", faults)


def warnings(heard: list[Received]) -> list[str]:
    return [message.code for message in of(SessionWarning, heard) if isinstance(message, SessionWarning)]


async def until_warned(talk: Talk, code: WarningCode) -> list[Received]:
    heard = await talk.hear_until(SessionWarning)
    while warnings(heard[-1:]) != [code]:
        heard += await talk.hear_until(SessionWarning)
    return heard


async def check_stored(service: Running, session: str, heard: list[Received]) -> None:
    """Every chunk that was heard is in the store, under its number."""
    rows = {row.sequence: row.frames_sha256 for row in await service.store.chunks(session)}
    for chunk in of(ChunkMetadata, heard):
        assert isinstance(chunk, ChunkMetadata)
        assert rows[chunk.sequence] == chunk.frames_sha256


@pytest.mark.parametrize("first", range(1, 9))
async def test_a_fault_at_any_write_of_a_session_stops_nothing(first: int) -> None:
    words = WORDS[first % 3]
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        heard = await until_chunk(talk, 1)
        with faulty(service, Faults(first, lasting=2, words=words)) as faults:
            await talk.say(SessionInteraction(event_id="e", prompt="a storm"))
            heard += await talk.hear_until(InteractionApplied)
            heard += await talk.hear_until(ChunkMetadata)
            await talk.say(SessionControl(action="rewind", seconds=0.0, same_noise=True, event_id="r"))
            heard += await talk.hear_until(SessionControlApplied)
            while faults.seen < first + 2:
                heard += await talk.hear_until(ChunkMetadata)
            heard += await talk.hear_until(ChunkMetadata)
        await talk.say(SessionStop())
        heard += await talk.hear_until(SessionDone)
        assert of(ErrorMessage, heard) == []
        assert warnings(heard)[:1] in ([WarningCode.STORE_BEHIND], [])
        assert warnings(heard).count(WarningCode.STORE_BEHIND) <= 2
        await check_stored(service, start.session_id, heard)
        record = await service.store.get(start.session_id)
        assert record.end_reason == "stopped"


async def test_while_nothing_is_stored_all_goes_on_and_what_needs_the_store_is_refused() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        heard = await until_chunk(talk, 1)
        with faulty(service, Faults(failing=True)) as faults:
            heard += await until_warned(talk, WarningCode.STORE_BEHIND)
            heard += await until_chunk(talk, 8)
            await talk.say(SessionInteraction(event_id="storm", prompt="a storm"))
            heard += await talk.hear_until(InteractionApplied)
            for asked in (
                SessionControl(action="rewind", seconds=0.0, event_id="take"),
                SessionFork(seconds=0.0, event_id="fork"),
            ):
                await talk.say(asked)
                error = await talk.error()
                assert (error.code, error.event_id, error.fatal) == (ErrorCode.STORE_BEHIND, asked.event_id, False)
            await talk.say(SessionFork(event_id="end"))
            error = await talk.error()
            assert (error.code, error.fatal) == (ErrorCode.FORK_POINT_INVALID, False)
            assert (await service.store.get(start.session_id)).next_sequence < 8
            service.worker.streaming = False
            faults.failing = False
            heard += await until_warned(talk, WarningCode.STORE_CAUGHT_UP)
        assert warnings(heard) == [WarningCode.STORE_BEHIND, WarningCode.STORE_CAUGHT_UP]
        await talk.say(SessionCheckpoint(name="here"))
        heard += await talk.hear_until(SessionCheckpointed)
        prompts = [prompt.event_id for prompt in await service.store.prompts(start.session_id)]
        assert prompts == ["storm"]
        await talk.say(SessionStop())
        heard += await talk.hear_until(SessionDone)
        await check_stored(service, start.session_id, heard)


async def test_latents_that_wait_in_the_worker_keep_their_chunks_out_of_the_store() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        service.worker.streaming = False
        start = await begun(talk)
        session, worker, emit = start.session_id, service.worker.worker, service.worker.link.emit
        for number in range(3):
            emit(msgspec.structs.replace(worker.chunk(session, number), stored=number == 0))
        heard = await until_chunk(talk, 2)
        assert warnings(heard) == [WarningCode.STORE_BEHIND]
        assert (await service.store.get(session)).next_sequence == 1
        emit(ipc.Stored(session=session, sequence=2))
        emit(ipc.Stored(session=session, sequence=1))
        heard += await until_warned(talk, WarningCode.STORE_CAUGHT_UP)
        assert (await service.store.get(session)).next_sequence == 3
        await check_stored(service, session, heard)


async def test_an_end_says_in_the_record_what_is_not_stored() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        service.worker.streaming = False
        start = await begun(talk)
        worker, emit = service.worker.worker, service.worker.link.emit
        for number in range(2):
            emit(msgspec.structs.replace(worker.chunk(start.session_id, number), stored=number == 0))
        await until_chunk(talk, 1)
        await talk.say(SessionStop())
        await talk.hear_until(SessionDone)
        record = await service.store.get(start.session_id)
        assert (record.end_reason, record.next_sequence) == ("stopped", 1)
        assert '{"type": "not_stored", "from_sequence": 1}' in await service.store.journal(start.session_id)


async def test_a_worker_that_is_lost_meanwhile_is_replaced_when_the_store_has_all() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        heard = await until_chunk(talk, 1)
        with faulty(service, Faults(failing=True)) as faults:
            heard += await until_warned(talk, WarningCode.STORE_BEHIND)
            service.kill_worker()
            heard += await talk.hear_until(WorkerRestarting)
            tried = faults.seen
            await service.new_worker()
            async with asyncio.timeout(PATIENCE):
                while faults.seen < tried + 2:
                    await asyncio.sleep(0.01)
            faults.failing = False
            heard += await talk.hear_until(SessionResumed)
        heard += await talk.hear_until(ChunkMetadata)
        numbers = [chunk.sequence for chunk in of(ChunkMetadata, heard) if isinstance(chunk, ChunkMetadata)]
        assert numbers == list(range(len(numbers)))
        await talk.say(SessionStop())
        heard += await talk.hear_until(SessionDone)
        await check_stored(service, start.session_id, heard)


async def test_what_was_in_a_lost_workers_memory_only_is_said_to_be_lost() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        service.worker.streaming = False
        start = await begun(talk)
        chunk = service.worker.worker.chunk(start.session_id, 0)
        service.worker.link.emit(msgspec.structs.replace(chunk, stored=False))
        await until_chunk(talk, 0)
        service.kill_worker()
        await service.new_worker()
        error = await talk.error()
        assert (error.code, error.fatal) == (ErrorCode.STORE_FAILED, True)
        assert "chunks from 0 on are lost" in error.message
        assert await talk.closed() == CloseCode.TRY_LATER


async def test_a_session_that_cannot_be_opened_is_refused_and_the_next_is_not() -> None:
    async with running(FAST) as service:
        with faulty(service, Faults(failing=True)):
            async with service.connection() as talk:
                await talk.say('{"type": "session.start", "prompt": "a"}')
                error = await talk.error()
                assert (error.code, error.retryable) == (ErrorCode.STORE_FAILED, True)
        async with service.connection() as talk:
            await begun(talk)
            await until_chunk(talk, 2)
