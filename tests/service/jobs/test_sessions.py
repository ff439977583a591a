"""A finished job is a stored session that can be gone on with live; one that is being made is not."""

import json
from pathlib import Path

import pytest

from service.access.principal import LOCAL
from service.api.opening import opening_of
from service.jobs.values import JobStatus
from service.store.failures import SessionLive
from tests.service.jobs.stages import expected, opened, story


async def test_a_finished_job_is_gone_on_with_and_forked_as_any_session(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("a", "b", seconds=2.0))
        await stage.end_of(job.id)
        record, course = await stage.store.get(job.id), await stage.store.course(job.id)
        opening = opening_of(record, course, prompts=(), principal=LOCAL)
        assert (opening.next_sequence, opening.message.seed, opening.message.model) == (3, 7, "demo")
        assert [prompt.text for prompt in opening.message.weighted_prompts] == ["a"]
        assert json.loads(course.journal)["events"][-1]["prompts"][0]["text"] == "b"
        assert (record.end_reason, record.tenant, record.family) == ("completed", LOCAL.tenant, job.id)
        assert (await stage.store.reopen_session(job.id)).live
        assert (await stage.jobs.get(LOCAL, job.id)).status is JobStatus.COMPLETED, "its film is as it was"


async def test_a_job_that_is_being_made_is_nobody_elses(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("a", seconds=3000.0))
        await stage.until(job.id, lambda now: now.blocks > 1)
        with pytest.raises(SessionLive):
            await stage.store.reopen_session(job.id)
        with pytest.raises(SessionLive):
            await stage.store.delete(job.id)
    async with opened(tmp_path, running=False) as stage:
        assert (await stage.store.get(job.id)).live, "a restart ends live sessions, but not those of jobs"
        with pytest.raises(SessionLive):
            await stage.store.reopen_session(job.id)


async def test_notes_of_hooks_and_other_numerics_are_in_the_record(tmp_path: Path) -> None:
    note = json.dumps({"type": "enhanced", "prompt": "a"})
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("a", seconds=9.0, notes=(note,)))
        await stage.until(job.id, lambda now: now.blocks >= 2)
    async with opened(tmp_path) as stage:
        facts = stage.workers.facts
        assert facts is not None
        stage.workers.facts = type(facts)(
            **{name: getattr(facts, name) for name in facts.__struct_fields__} | {"fingerprint": "another"}
        )
        await stage.end_of(job.id)
        notes = [json.loads(event.text) for event in await stage.store.events(job.id) if not event.engine]
        kinds = [said["type"] for said in notes]
        assert kinds[0] == "enhanced"
        assert kinds.count("enhanced") == 1
        assert (await stage.hashes(job.id)) == expected(["a"] * 12)
