"""Jobs from the outside: created, followed, fetched, cancelled, deleted; whose they are; keys that are used twice."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from service.access.principal import LOCAL
from service.errors import ErrorCode, ProtocolError
from service.jobs import rows
from service.jobs.failures import DiskFull, IdempotencyConflict, JobError, JobUnknown, MediaExpired, NotReady, QueueFull
from service.jobs.values import Idempotency, Job, JobRequest, JobStatus, TimedPrompt, WeightedText
from tests.service.jobs.stages import CONFIG, OTHER, expected, frames_in, opened, story
from tests.service.jobs.workers import FakeWorkers


async def test_a_job_is_made_to_the_exact_frame(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("a", "b", "c", seconds=2.5, every=0.8))
        assert (job.status, job.request.model, job.request.seed, job.version) == (JobStatus.QUEUED, "demo", 7, 1)
        done = await stage.end_of(job.id)
        assert (done.status, done.progress, done.failure) == (JobStatus.COMPLETED, 100, None)
        assert (done.frames, done.frames_made, done.blocks, done.attempt) == (40, 48, 4, 1)
        assert await stage.hashes(job.id) == expected(["a", "a", "b", "c"])
        video = await stage.jobs.media(LOCAL, job.id)
        assert frames_in(video.path) == 40
        assert video.bytes == video.path.stat().st_size
        for variant in ("thumbnail", "spritesheet"):
            still = await stage.jobs.media(LOCAL, job.id, variant=variant)
            assert (still.media_type, still.path.read_bytes()[:2]) == ("image/jpeg", b"\xff\xd8")
        assert sorted(path.name for path in video.path.parent.iterdir()) == [
            "spritesheet.jpg",
            "thumbnail.jpg",
            "video.mp4",
        ]


async def test_a_story_of_many_prompts_is_given_as_it_goes(tmp_path: Path) -> None:
    texts = [f"prompt {number}" for number in range(60)]
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story(*texts, seconds=45.0))
        done = await stage.end_of(job.id)
        assert (done.status, done.blocks) == (JobStatus.COMPLETED, 60)
        assert await stage.hashes(job.id) == expected(texts)


async def test_events_rise_and_the_last_is_terminal(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("a"))
        events = [event async for event in stage.jobs.watch(LOCAL, job.id)]
        ids = [event.id for event in events]
        assert ids == sorted(set(ids))
        assert events[-1].type == "completed"
        again = [event async for event in stage.jobs.watch(LOCAL, job.id, after=ids[-2])]
        assert [event.id for event in again] == ids[-1:]
        assert [event async for event in stage.jobs.watch(LOCAL, job.id, after=ids[-1])] == []
        assert len(stage.jobs.book.bells) == 1, "the runner's own"


async def test_of_a_hundred_who_use_one_key_all_have_one_job(tmp_path: Path) -> None:
    async with opened(tmp_path, running=False) as stage:
        key = Idempotency("key", "fingerprint")
        made = await asyncio.gather(*(stage.jobs.create(LOCAL, story("a"), idempotency=key) for _ in range(100)))
        assert len({job.id for job in made}) == 1
        with pytest.raises(IdempotencyConflict):
            await stage.jobs.create(LOCAL, story("b"), idempotency=Idempotency("key", "another"))
        other = await stage.jobs.create(OTHER, story("a"), idempotency=key)
        assert other.id != made[0].id
        counts = await stage.store.read(rows.count_by_status)
        assert counts.total == 2


async def test_a_key_that_was_used_makes_no_second_opening(tmp_path: Path) -> None:
    async with opened(tmp_path, running=False) as stage:
        key = Idempotency("key", "fingerprint")
        first = await stage.jobs.create(LOCAL, story("a"), opening=b"picture", idempotency=key)
        again = await stage.jobs.create(LOCAL, story("a"), opening=b"picture", idempotency=key)
        assert again.id == first.id
        assert stage.jobs.files.names() == (first.id,)
        assert await stage.jobs.opening(LOCAL, first.id) == b"picture"


async def test_what_is_anothers_is_not_there(tmp_path: Path) -> None:
    async with opened(tmp_path, running=False) as stage:
        job = await stage.jobs.create(LOCAL, story("a"))
        for asked in (
            stage.jobs.get(OTHER, job.id),
            stage.jobs.cancel(OTHER, job.id),
            stage.jobs.delete(OTHER, job.id),
            stage.jobs.media(OTHER, job.id),
            stage.jobs.opening(OTHER, job.id),
            anext(aiter(stage.jobs.watch(OTHER, job.id))),
        ):
            with pytest.raises(JobUnknown) as caught:
                await asked
            assert str(caught.value) == str(JobUnknown(job.id))
        assert (await stage.jobs.list(OTHER)).jobs == ()
        with pytest.raises(JobError) as refused:
            await stage.jobs.list(OTHER, after=job.id)
        assert refused.value.code == ErrorCode.CURSOR_INVALID
        assert (await stage.jobs.get(LOCAL, job.id)).status is JobStatus.QUEUED


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_hold_each_job_once(tmp_path: Path, order: str) -> None:
    async with opened(tmp_path, running=False) as stage:
        made = [(await stage.jobs.create(LOCAL, story("a"))).id for _ in range(7)]
        seen: list[str] = []
        more = True
        while more:
            after = seen[-1] if seen else None
            page = await stage.jobs.list(LOCAL, after=after, limit=3, order=order)  # type: ignore[arg-type]
            seen += [job.id for job in page.jobs]
            more = page.has_more
        assert seen == (made if order == "asc" else made[::-1])


async def test_the_most_urgent_is_made_first_and_the_oldest_of_those(tmp_path: Path) -> None:
    async with opened(tmp_path, running=False) as stage:
        for number, priority in enumerate((0, 5, -1, 5)):
            await stage.jobs.create(LOCAL, story(f"job {number}", seconds=0.5, priority=priority))
        running = asyncio.create_task(stage.jobs.run())
        jobs = (await stage.jobs.list(LOCAL, order="asc")).jobs
        for job in jobs:
            await stage.end_of(job.id)
        assert [start.prompts[0].text for start in stage.workers.opened] == ["job 1", "job 3", "job 0", "job 2"]
        assert stage.workers.most == 1
        await stage.jobs.stop()
        await running


async def test_a_queued_job_is_cancelled_and_never_made(tmp_path: Path) -> None:
    ended: list[Job] = []

    def tell(_connection: Connection, job: Job) -> None:
        ended.append(job)

    async with opened(tmp_path, workers=FakeWorkers(room=0), on_terminal=tell) as stage:
        job = await stage.jobs.create(LOCAL, story("a"))
        cancelled = await stage.jobs.cancel(LOCAL, job.id)
        assert cancelled.status is JobStatus.CANCELLED
        assert (await stage.jobs.cancel(LOCAL, job.id)) == cancelled, "once is enough"
        assert [job.id for job in ended] == [job.id]
        with pytest.raises(NotReady):
            await stage.jobs.media(LOCAL, job.id)


async def test_a_job_is_cancelled_while_it_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("a", seconds=3000.0))
        await stage.until(job.id, lambda now: now.blocks > 2)
        assert (await stage.jobs.cancel(LOCAL, job.id)).status is JobStatus.CANCELLED
        after = await stage.jobs.create(LOCAL, story("b"))
        assert (await stage.end_of(after.id)).status is JobStatus.COMPLETED
        assert not stage.workers.sessions
        assert [path.name for path in stage.jobs.files.folder(job.id).iterdir()] == []
        assert (await stage.store.get(job.id)).end_reason == "stopped"


async def test_what_is_deleted_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("a"))
        await stage.end_of(job.id)
        assert (await stage.jobs.delete(LOCAL, job.id)).status is JobStatus.COMPLETED
        with pytest.raises(JobUnknown):
            await stage.jobs.get(LOCAL, job.id)
        assert stage.jobs.files.names() == ()
        assert (await stage.store.list()).records == ()


async def test_files_that_are_gone_have_expired(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("a"))
        await stage.end_of(job.id)
        await stage.store.write(lambda connection: rows.add_files(connection, job.id, files=[]))
        with pytest.raises(MediaExpired):
            await stage.jobs.media(LOCAL, job.id)


async def test_an_engines_refusal_is_the_jobs_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("refuse this"))
        failed = await stage.end_of(job.id)
        assert failed.status is JobStatus.FAILED
        assert failed.failure is not None
        assert failed.failure.code == ErrorCode.PROMPT_INVALID


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (story("a", seconds=0.0), "seconds"),
        (story("a", seconds=float("nan")), "seconds"),
        (story("a", seconds=1e9), "seconds"),
        (story(), "prompts"),
        (story("a", "b", every=0.0), "prompts.1.at"),
        (story("a", "b", "c", "d", "e", every=0.2), "prompts.4.at"),
        (JobRequest(timeline=(TimedPrompt(at=1.0, prompts=(WeightedText("a"),)),), seconds=1.0), "prompts.0.at"),
        (story("a", priority=1001), "priority"),
        (story("a", seed=-1), "seed"),
        (story("a", decoder="full"), "decoder"),
        (story("a", steps=8), "steps"),
        (story(*("a" for _ in range(1025))), "prompts"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_name(tmp_path: Path, request_: JobRequest, field: str) -> None:
    async with opened(tmp_path, running=False) as stage:
        with pytest.raises(ProtocolError) as caught:
            await stage.jobs.create(LOCAL, request_)
        assert caught.value.field == field
        assert (await stage.jobs.list(LOCAL)).jobs == ()


async def test_the_queue_and_the_disk_have_bounds(tmp_path: Path) -> None:
    full = CONFIG.model_copy(update={"max_queued_jobs": 2})
    async with opened(tmp_path / "a", config=full, running=False) as stage:
        await stage.jobs.create(LOCAL, story("a"))
        await stage.jobs.create(LOCAL, story("a"))
        with pytest.raises(QueueFull):
            await stage.jobs.create(LOCAL, story("a"))
    low = CONFIG.model_copy(update={"disk_floor_bytes": 2**62})
    async with opened(tmp_path / "b", config=low, running=False) as stage:
        with pytest.raises(DiskFull) as caught:
            await stage.jobs.create(LOCAL, story("a"), opening=b"picture")
        assert caught.value.code == ErrorCode.DISK_FULL
        assert stage.jobs.files.names() == ()


def test_a_request_comes_back_as_it_was() -> None:
    said = {"metadata": {"k": "v"}, "notes": ('{"type": "x"}',), "webhook_url": "https://example.org"}
    plain = replace(story("a", "b"), priority=-3, **said)  # type: ignore[arg-type]
    for request in (plain, story("a"), replace(plain, seed=0, width=96, height=96)):
        assert JobRequest.from_text(request.to_text()) == request
