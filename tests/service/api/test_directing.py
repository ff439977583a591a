"""Rewinds, discards, forks and checkpoints, over real sockets: what is asked of the worker, stored and answered."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from service import ipc
from service.errors import ErrorCode
from service.latent_files import latent_path
from service.protocol.client import (
    SessionCheckpoint,
    SessionControl,
    SessionFork,
    SessionResume,
    SessionStop,
)
from service.protocol.server import (
    ChunkMetadata,
    SessionCheckpointed,
    SessionControlApplied,
    SessionDone,
    SessionForked,
    SessionResumed,
    VideoDiscard,
    VideoStart,
)
from tests.service.api.running import PATIENT, Received, Running, running
from tests.service.api.test_resume import begun, chunks, sequences


def rewinds(service: Running) -> list[ipc.Rewind]:
    return [command for command in service.worker.worker.commands if isinstance(command, ipc.Rewind)]


def chunks_of(heard: Sequence[Received]) -> list[ChunkMetadata]:
    return [item.message for item in heard if isinstance(item.message, ChunkMetadata)]


@pytest.mark.parametrize("place", [{"sequence": 2}, {"seconds": 1.6}], ids=["chunk", "second"])
async def test_a_rewind_makes_the_video_anew_from_a_block_in_a_new_take(place: dict[str, float]) -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        before = await chunks(talk, 5)
        await talk.say(SessionControl.model_validate({"action": "rewind", "event_id": "r", **place}))
        heard = await talk.hear_until(SessionControlApplied)
        applied = heard[-1].message
        assert isinstance(applied, SessionControlApplied)
        assert (applied.action, applied.block, applied.take, applied.event_id) == ("rewind", 2, 1, "r")
        after = await chunks(talk, 4)
        assert [(chunk.sequence, chunk.block, chunk.take) for chunk in after] == [
            (applied.sequence + index, 2 + index, 1) for index in range(4)
        ]
        assert after[0].pts == before[2].pts
        assert after[0].frames_sha256 != before[2].frames_sha256
        everything = [*before, *chunks_of(heard), *after]
        assert sequences(everything) == list(range(len(everything)))
        await talk.say(SessionStop())
        await talk.hear_until(SessionDone)
        course = await service.store.course(start.session_id)
        assert [row.take for row in course.rows[:6]] == [0, 0, 1, 1, 1, 1]


async def test_the_same_noise_keeps_the_take_and_every_take_has_its_own_number() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        await begun(talk)
        await chunks(talk, 3)
        await talk.say(SessionControl(action="rewind", sequence=0))
        await talk.hear_until(SessionControlApplied)
        await chunks(talk, 2)
        # The video has begun anew: chunk 0 is no part of it any more.
        await talk.say(SessionControl(action="rewind", sequence=0))
        assert (await talk.error()).code == ErrorCode.FORK_POINT_INVALID
        for same_noise in (True, False):
            await talk.say(SessionControl(action="rewind", seconds=0.0, same_noise=same_noise))
            await talk.hear_until(SessionControlApplied)
            await chunks(talk, 1)
        assert [rewind.take for rewind in rewinds(service)] == [1, None, 2]


async def test_what_nobody_saw_is_taken_back_before_the_answer() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        service.worker.worker.discards_at_rewind = True
        start = await begun(talk)
        await chunks(talk, 4)
        await talk.say(SessionControl(action="rewind", sequence=1))
        heard = await talk.hear_until(SessionControlApplied)
        discards = [item.message for item in heard if isinstance(item.message, VideoDiscard)]
        applied = heard[-1].message
        assert isinstance(applied, SessionControlApplied)
        assert discards == [
            VideoDiscard(from_sequence=applied.sequence - 1, next_sequence=applied.sequence, reason="rewind")
        ]
        assert (await chunks(talk, 1))[0].sequence == applied.sequence
        notes = [json.loads(event.text) for event in await service.store.events(start.session_id) if not event.engine]
        assert [(note["type"], note["block"]) for note in notes] == [("discarded", 1), ("discarded", 1)]


async def test_a_take_that_was_begun_is_begun_by_the_next_worker_too() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        await begun(talk)
        await chunks(talk, 3)
        await talk.say(SessionControl(action="pause"))
        await talk.hear_until(SessionControlApplied)
        await talk.say(SessionControl(action="rewind", sequence=1))
        await talk.hear_until(SessionControlApplied)
        service.kill_worker()
        worker = await service.new_worker()
        await talk.hear_until(SessionResumed)
        await talk.say(SessionControl(action="resume"))
        chunk = (await chunks(talk, 1))[0]
        assert (chunk.block, chunk.take) == (1, 1)
        (again,) = [command for command in worker.worker.commands if isinstance(command, ipc.Start)]
        assert again.course is not None
        assert (len(again.course.blocks), again.take) == (1, 1)


async def test_a_fork_has_the_history_and_goes_on_by_its_token_while_its_parent_does() -> None:
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as other:
        start = await begun(talk)
        before = await chunks(talk, 4)
        write_latents(service.store.folder, start.session_id, 4)
        await talk.say(SessionFork(sequence=3, event_id="f"))
        forked = (await talk.hear_until(SessionForked))[-1].message
        assert isinstance(forked, SessionForked)
        assert (forked.block, forked.event_id) == (3, "f")
        await other.say(SessionResume(session_id=forked.session_id, resume_token=forked.resume_token))
        begin = (await other.hear_until(VideoStart))[-1].message
        assert isinstance(begin, VideoStart)
        assert (begin.session_id, begin.next_sequence, begin.seed) == (forked.session_id, 3, start.seed)
        theirs = await chunks(other, 3)
        assert [(chunk.sequence, chunk.block, chunk.take) for chunk in theirs] == [(3, 3, 1), (4, 4, 1), (5, 5, 1)]
        assert theirs[0].frames_sha256 != before[3].frames_sha256
        await chunks(talk, 3)
        record = await service.store.get(forked.session_id)
        assert (record.parent, record.parent_block, record.live) == (start.session_id, 3, True)


def write_latents(folder: Path, session: str, count: int) -> None:
    """The fake worker has none."""
    for sequence in range(count):
        path = latent_path(folder, session, sequence=sequence)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


async def test_a_checkpoint_names_the_place_that_comes_next() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        start = await begun(talk)
        await chunks(talk, 2)
        await talk.say(SessionCheckpoint(name="the storm begins", event_id="c"))
        named = (await talk.hear_until(SessionCheckpointed))[-1].message
        assert isinstance(named, SessionCheckpointed)
        assert (named.name, named.block, named.event_id) == ("the storm begins", named.sequence, "c")
        notes = [json.loads(event.text) for event in await service.store.events(start.session_id) if not event.engine]
        assert notes == [
            {"type": "checkpoint", "name": "the storm begins", "sequence": named.sequence, "block": named.block}
        ]
