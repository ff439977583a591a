"""Seconds of the engine that jobs take: on their key's account with each block, and the end of its day's jobs."""

from pathlib import Path

import pytest

from service.access.keys import KeyWish
from service.access.principal import Principal, Scope
from service.access.quota import QuotaExceeded, Quotas, day_of
from service.errors import ErrorCode
from service.jobs.values import JobStatus
from tests.service.access.desks import make_key
from tests.service.jobs.stages import Stage, opened, story

BLOCK = 0.1
"""What the fake worker says that a block took."""


def principal(stage: Stage, **limits: float | int) -> Principal:
    wish = KeyWish(tenant="studio", **limits)  # type: ignore[arg-type]
    key = make_key(stage.store.folder, wish, now=stage.jobs.book.clock())
    return Principal("studio", key.split("_")[1], frozenset(Scope))


async def test_a_job_is_charged_block_by_block_and_none_is_taken_once_the_day_is_used_up(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    async with opened(tmp_path) as stage:
        object.__setattr__(stage.jobs.book, "clock", lambda: now[0])
        who = principal(stage, gpu_seconds_per_day=3.5 * BLOCK)
        assert who.key_id is not None
        job = await stage.jobs.create(who, story("a", seconds=3.0))
        assert (await stage.end_of(job.id, principal=who)).status is JobStatus.COMPLETED
        used = await stage.store.keys.used(who.key_id, day_of(now[0]))
        assert used == pytest.approx(4 * BLOCK)
        with pytest.raises(QuotaExceeded) as caught:
            await stage.jobs.create(who, story("b"))
        assert caught.value.code is ErrorCode.QUOTA_EXCEEDED
        with pytest.raises(QuotaExceeded):
            await Quotas(stage.store.keys, clock=lambda: now[0]).check_session(who, live=0)
        now[0] += 86400.0
        again = await stage.jobs.create(who, story("b"))
        assert (await stage.end_of(again.id, principal=who)).status is JobStatus.COMPLETED


async def test_what_sessions_took_counts_for_jobs(tmp_path: Path) -> None:
    async with opened(tmp_path, running=False) as stage:
        who = principal(stage, gpu_seconds_per_day=1.0)
        quotas = Quotas(stage.store.keys, clock=stage.jobs.book.clock)
        quotas.charge(who.key_id, 0.9)
        await quotas.flush()
        await stage.jobs.create(who, story("a"))
        quotas.charge(who.key_id, 0.2)
        await quotas.flush()
        with pytest.raises(QuotaExceeded):
            await stage.jobs.create(who, story("a"))


async def test_jobs_of_a_key_that_are_not_over_have_a_bound(tmp_path: Path) -> None:
    async with opened(tmp_path, running=False) as stage:
        who = principal(stage, max_jobs=2)
        first = await stage.jobs.create(who, story("a"))
        await stage.jobs.create(who, story("a"))
        with pytest.raises(QuotaExceeded, match="has 2 jobs, and may have 2"):
            await stage.jobs.create(who, story("a"))
        await stage.jobs.cancel(who, first.id)
        await stage.jobs.create(who, story("a"))
