"""What becomes of jobs when workers are lost, disks fail and attempts come too late."""

import asyncio
import contextlib
import errno
import os
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from service.access.principal import LOCAL
from service.errors import ErrorCode
from service.jobs import rows
from service.jobs.book import Block
from service.jobs.failures import StaleAttempt
from service.jobs.values import Job, JobStatus
from service.store.failures import StoreFailed
from service.store.records import ChunkRow
from tests.service.jobs.stages import CONFIG, Stage, expected, frames_in, opened, story
from tests.service.jobs.workers import FakeWorkers


@dataclass(slots=True)
class Loses:
    """Workers are lost before the n-th block that is begun, for each n given."""

    at: set[int]
    workers: FakeWorkers = field(default_factory=FakeWorkers)
    begun: int = 0

    def __post_init__(self) -> None:
        self.workers.before_block = self.before

    def before(self, _session: str, _block: int) -> None:
        self.begun += 1
        if self.begun in self.at:
            self.workers.lose()


@pytest.mark.parametrize("lost", [{1}, {2}, {4}, {1, 2}, {3, 5}])
async def test_a_job_goes_on_behind_its_last_block_in_another_worker(tmp_path: Path, lost: set[int]) -> None:
    async with opened(tmp_path, workers=Loses(lost).workers) as stage:
        job = await stage.jobs.create(LOCAL, story("a", "b", "c", seconds=2.9))
        done = await stage.end_of(job.id)
        assert (done.status, done.attempt, done.losses) == (JobStatus.COMPLETED, 1 + len(lost), len(lost))
        assert await stage.hashes(job.id) == expected(["a", "b", "c", "c"])
        assert frames_in((await stage.jobs.media(LOCAL, job.id)).path) == 46
        stored = [block for session, block in stage.workers.made if session == job.id]
        assert sorted(set(stored)) == [0, 1, 2, 3]
        attempts = await stage.store.read(lambda connection: rows.attempts_of(connection, job.id))
        assert [attempt["outcome"] for attempt in attempts] == ["lost"] * len(lost) + ["completed"]


async def test_a_job_that_is_made_whenever_workers_are_lost_is_set_aside_and_the_others_are_not(tmp_path: Path) -> None:
    workers = FakeWorkers(room=2)

    def before(session: str, _block: int) -> None:
        if workers.sessions[session].prompt == "poison":
            workers.lose()

    workers.before_block = before
    async with opened(tmp_path, workers=workers) as stage:
        made = [await stage.jobs.create(LOCAL, story("good")) for _ in range(2)]
        made.insert(1, await stage.jobs.create(LOCAL, story("poison", priority=1)))
        made += [await stage.jobs.create(LOCAL, story("good")) for _ in range(2)]
        ends = [await stage.end_of(job.id) for job in made]
        assert [end.status for end in ends].count(JobStatus.COMPLETED) == 4
        bad = ends[1]
        assert (bad.status, bad.losses) == (JobStatus.FAILED, 3)
        assert bad.failure is not None
        assert bad.failure.code == ErrorCode.JOB_SET_ASIDE
        assert workers.losses == 3
        assert max(end.losses for end in ends if end is not bad) <= 1, "after the first loss it is made alone"


async def test_what_an_old_attempt_says_is_not_heard(tmp_path: Path) -> None:
    async with opened(tmp_path, running=False) as stage:
        created = await stage.jobs.create(LOCAL, story("a"))
        book = stage.jobs.book
        old = await book.claim("one", untroubled=False)
        assert old is not None
        await book.release(old)
        new = await book.claim("two", untroubled=False)
        assert new is not None
        assert (new.id, new.attempt) == (created.id, 2)
        block = Block(
            row=ChunkRow(sequence=0, take=0, block=0, attempt=0, frames=12, pts=0.0, frames_sha256="0" * 64),
            events=(),
            media_bytes=1,
            engine_seconds=1.0,
        )
        for late in (
            book.add_block(old, block),
            book.keep_media(old, 5),
            book.note(old, "{}"),
            book.lose(old, "late"),
            book.release(old),
            book.complete(old, ()),
        ):
            with pytest.raises(StaleAttempt):
                await late
        now = await stage.jobs.get(LOCAL, created.id)
        assert (now.status, now.attempt, now.blocks, now.version) == (JobStatus.IN_PROGRESS, 2, 0, new.version)


async def test_another_server_takes_over_once_a_lease_has_run_out(tmp_path: Path) -> None:
    now = [1000.0]
    async with opened(tmp_path, running=False) as stage:
        object.__setattr__(stage.jobs.book, "clock", lambda: now[0])
        created = await stage.jobs.create(LOCAL, story("a"))
        book = stage.jobs.book
        first = await book.claim("one", untroubled=False)
        assert first is not None
        now[0] += CONFIG.job_lease - 1
        assert await book.claim("two", untroubled=False) is None
        await book.renew([first])
        now[0] += CONFIG.job_lease - 1
        assert await book.claim("two", untroubled=False) is None, "it was heard of"
        now[0] += 2
        second = await book.claim("two", untroubled=False)
        assert second is not None
        assert (second.id, second.attempt) == (created.id, 2)


async def test_a_server_that_stops_lets_its_jobs_wait_and_the_next_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        job = await stage.jobs.create(LOCAL, story("a", seconds=30.0))
        await stage.until(job.id, lambda now: now.blocks >= 3)
    async with opened(tmp_path) as stage:
        done = await stage.end_of(job.id)
        assert (done.status, done.attempt, done.losses) == (JobStatus.COMPLETED, 2, 0)
        assert await stage.hashes(job.id) == expected(["a"] * 40)


async def test_a_fault_of_the_program_stops_no_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, running=False) as stage:
        left = [2]

        def free_bytes(_files: object) -> int:
            left[0] -= 1
            if left[0] >= 0:
                raise RuntimeError("a fault")
            return 1

        monkeypatch.setattr(type(stage.jobs.files), "free_bytes", free_bytes)
        job_id = uuid.uuid4().hex
        await stage.store.write(lambda connection: rows.add_jobs(connection, [_row(job_id, stage)], openings={}))
        running = asyncio.create_task(stage.jobs.run())
        assert (await stage.end_of(job_id)).status is JobStatus.COMPLETED
        assert left[0] < 0
        await stage.jobs.stop()
        await running


def _row(job_id: str, stage: Stage) -> Job:
    request = replace(story("a"), model="demo")
    return Job(
        id=job_id,
        tenant=LOCAL.tenant,
        status=JobStatus.QUEUED,
        request=request,
        created_at=stage.jobs.book.clock(),
        version=1,
    )


async def test_a_job_that_is_made_here_is_not_taken_up_again_however_late_it_is(tmp_path: Path) -> None:
    now = [1000.0]
    async with opened(tmp_path, running=False) as stage:
        object.__setattr__(stage.jobs.book, "clock", lambda: now[0])
        await stage.jobs.create(LOCAL, story("a"))
        book = stage.jobs.book
        first = await book.claim("one", untroubled=False)
        assert first is not None
        now[0] += 10 * CONFIG.job_lease
        assert await book.claim("one", untroubled=False, but=(first.id,)) is None
        await book.renew((first,))
        assert await book.claim("two", untroubled=False) is None


async def test_jobs_wait_while_the_disk_is_below_its_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.model_copy(update={"disk_floor_bytes": 1})
    async with opened(tmp_path, config=config, running=False) as stage:
        job = await stage.jobs.create(LOCAL, story("a"))
        free = [0]
        monkeypatch.setattr(type(stage.jobs.files), "free_bytes", lambda _files: free[0])
        running = asyncio.create_task(stage.jobs.run())
        await stage.store.read(rows.all_ids)
        assert (await stage.jobs.get(LOCAL, job.id)).attempt == 0
        free[0] = 2
        assert (await stage.end_of(job.id)).status is JobStatus.COMPLETED
        await stage.jobs.stop()
        await running


# Faults of the disk, at every write


@dataclass(slots=True)
class Faults:
    """The n-th write of this process fails, and `lasting - 1` after it."""

    first: int
    number: int
    lasting: int = 1
    seen: int = 0

    def strike(self) -> None:
        self.seen += 1
        if self.first <= self.seen < self.first + self.lasting:
            raise OSError(self.number, os.strerror(self.number))

    def around(self, real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.strike()
            return real(*arguments, **named)

        return call

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("fsync", "pwrite", "replace"):
            patch.setattr(os, name, self.around(getattr(os, name)))


@pytest.mark.parametrize("first", range(1, 21))
async def test_a_fault_at_any_write_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    number = (errno.ENOSPC, errno.EROFS, errno.EIO)[first % 3]
    faults = Faults(first, number, lasting=2)
    async with opened(tmp_path) as stage:
        with monkeypatch.context() as patch:
            faults.install(patch)
            job = await stage.jobs.create(LOCAL, story("a", "b", seconds=2.0))
            done = await stage.end_of(job.id)
        assert faults.seen > first, "the fault came"
        assert (done.status, done.losses) == (JobStatus.COMPLETED, 0)
        assert await stage.hashes(job.id) == expected(["a", "b", "b"])
        assert frames_in((await stage.jobs.media(LOCAL, job.id)).path) == 32


@pytest.mark.parametrize("first", range(1, 9))
async def test_a_fault_of_the_database_is_waited_out(tmp_path: Path, first: int) -> None:
    async with opened(tmp_path) as stage:
        count = _fail_commits(stage, first=first, lasting=2)
        job = None
        while job is None:
            with contextlib.suppress(StoreFailed):
                job = await stage.jobs.create(LOCAL, story("a", "b", seconds=2.0))
        done = await stage.end_of(job.id)
        assert count[0] > first
        assert (done.status, done.losses) == (JobStatus.COMPLETED, 0)
        assert await stage.hashes(job.id) == expected(["a", "b", "b"])
        assert (await stage.store.read(rows.count_by_status)).total == 1


def _fail_commits(stage: Stage, *, first: int, lasting: int) -> list[int]:
    """The n-th transaction that writes fails at its end, and some after it."""
    count = [0]

    def commit(connection: Any) -> None:
        if not connection.get_execution_options().get("writes"):
            return
        count[0] += 1
        if first <= count[0] < first + lasting:
            raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    event.listen(stage.store._engine, "commit", commit)
    return count
