"""Quotas: sessions, jobs and seconds of the engine, by key and day."""

from pathlib import Path

import pytest

from service.access.keys import KeyWish
from service.access.principal import LOCAL, Principal, Scope
from service.access.quota import QuotaExceeded, Quotas, check_new_jobs
from service.store.aside import beside_server
from tests.service.access.desks import Office, office


def _principal(found: Office, **limits: object) -> Principal:
    key = found.make(KeyWish(tenant="studio", **limits))  # type: ignore[arg-type]
    return Principal("studio", key.split("_")[1], frozenset(Scope))


def check_jobs(found: Office, who: Principal, *, unfinished: int, more: int = 1) -> None:
    with beside_server(found.store.folder) as connection:
        check_new_jobs(connection, who, unfinished=lambda _: unfinished, more=more, now=found.clock.now)


async def test_sessions_and_jobs_at_once(tmp_path: Path) -> None:
    with office(tmp_path) as found:
        quotas, who = Quotas(found.store.keys, clock=found.clock), _principal(found, max_sessions=2, max_jobs=3)
        await quotas.check_session(who, live=1)
        with pytest.raises(QuotaExceeded, match="has 2 sessions, and may have 2"):
            await quotas.check_session(who, live=2)
        check_jobs(found, who, unfinished=1, more=2)
        with pytest.raises(QuotaExceeded, match="has 1 jobs, and may have 3"):
            check_jobs(found, who, unfinished=1, more=3)
        await quotas.check_session(LOCAL, live=10_000)
        check_jobs(found, LOCAL, unfinished=10_000)
        check_jobs(found, _principal(found), unfinished=10_000)


async def test_seconds_of_the_engine_are_of_a_day(tmp_path: Path) -> None:
    with office(tmp_path) as found:
        quotas, who = Quotas(found.store.keys, clock=found.clock), _principal(found, gpu_seconds_per_day=10.0)
        await quotas.check_session(who, live=0)
        quotas.charge(who.key_id, 9.5)
        await quotas.check_session(who, live=0)
        assert not quotas.used_up(who.key_id)
        quotas.charge(who.key_id, 0.5)
        assert quotas.used_up(who.key_id)
        with pytest.raises(QuotaExceeded, match="its 10 s of the engine") as caught:
            await quotas.check_session(who, live=0)
        assert caught.value.retry_after == 43200.0
        await quotas.flush()
        with pytest.raises(QuotaExceeded):
            check_jobs(found, who, unfinished=0)
        found.clock.now += 43200.0
        check_jobs(found, who, unfinished=0)
        assert not quotas.used_up(who.key_id)
        await quotas.check_session(who, live=0)


async def test_what_was_used_is_written_once_and_outlives_the_process(tmp_path: Path) -> None:
    with office(tmp_path) as found:
        first, who = Quotas(found.store.keys, clock=found.clock), _principal(found, gpu_seconds_per_day=10.0)
        other = _principal(found)
        assert who.key_id is not None
        assert other.key_id is not None
        first.charge(who.key_id, 6.0)
        first.charge(other.key_id, 1.0)
        first.charge(None, 100.0)
        for _ in range(2):
            await first.flush()
        day = "2027-01-15"
        assert await found.store.keys.used(who.key_id, day) == 6.0
        assert await found.store.keys.used(other.key_id, day) == 1.0
        second = Quotas(found.store.keys, clock=found.clock)
        await second.check_session(who, live=0)
        second.charge(who.key_id, 4.0)
        assert second.used_up(who.key_id)
        await second.flush()
        assert await found.store.keys.used(who.key_id, day) == 10.0
        with pytest.raises(QuotaExceeded):
            await first.check_session(who, live=0)


async def test_a_key_that_is_gone_has_no_account(tmp_path: Path) -> None:
    with office(tmp_path) as found:
        quotas = Quotas(found.store.keys, clock=found.clock)
        quotas.charge("nobody", 1.0)
        await quotas.flush()
        assert await found.store.keys.used("nobody", "2027-01-15") == 0.0
