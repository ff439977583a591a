"""What a sweep deletes: what is old, what there is no room for, what belongs to nobody; never what is live."""

import asyncio
from pathlib import Path

from service.store import queries
from service.store.history import CoursePoint
from service.store.keeper import keep_swept
from service.store.retention import Retention, expired
from service.store.store import SessionStore
from tests.service.store.values import LATENT_BYTES, fill, record

HOUR = 3600.0
FOR_EVER = 10**9


def test_the_old_go_and_then_the_oldest_until_there_is_room() -> None:
    ended = [("a", 0.0), ("b", 10.0), ("c", 20.0)]
    sizes = {"a": 5, "b": 5, "c": 5, "live": 5}
    roomy, tight = Retention(hours=1, max_bytes=100), Retention(hours=1, max_bytes=12)
    assert expired(ended, sizes=sizes, now=30.0, keep=roomy) == []
    assert expired(ended, sizes=sizes, now=HOUR + 10.0, keep=roomy) == ["a", "b"]
    assert expired(ended, sizes=sizes, now=30.0, keep=tight) == ["a", "b"]
    assert expired(ended, sizes={}, now=30.0, keep=Retention(hours=0, max_bytes=0)) == ["a", "b", "c"]


async def test_a_sweep_deletes_with_latents_and_leaves_the_live(store: SessionStore) -> None:
    for name in ("a", "b", "live"):
        await fill(store, name, 2)
    await store.end_session("a", "stopped")
    await store.end_session("b", "stopped")
    ended_at = (await store.get("b")).ended_at or 0.0
    keep = Retention(hours=1, max_bytes=4 * LATENT_BYTES)
    swept = await store.sweep(keep, now=ended_at)
    assert (swept.sessions, swept.orphans, swept.bytes_left) == (("a",), (), 4 * LATENT_BYTES)
    swept = await store.sweep(keep, now=ended_at + HOUR)
    assert (swept.sessions, swept.bytes_left) == (("b",), 2 * LATENT_BYTES)
    assert [path.name for path in (store.folder / "latents").iterdir()] == ["live"]
    swept = await store.sweep(Retention(hours=0, max_bytes=0), now=ended_at + 10 * HOUR)
    assert swept.sessions == ()


async def test_folders_of_nobody_go_and_forks_in_the_making_stay(store: SessionStore) -> None:
    await fill(store, "a", 1)
    for name in ("stray", "making"):
        (store.folder / "latents" / name).mkdir()
    await store._writer.do(lambda connection: queries.add_session(connection, record("making"), unfinished=True))
    swept = await store.sweep(Retention(hours=FOR_EVER, max_bytes=FOR_EVER), now=0.0)
    assert (swept.orphans, swept.sessions) == (("stray",), ())
    assert sorted(path.name for path in (store.folder / "latents").iterdir()) == ["a", "making"]


async def test_a_fork_that_was_left_half_made_is_gone_after_a_restart(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    await fill(store, "a", 1)
    await store.fork("a", "b", point=CoursePoint(block=1))
    await store._writer.do(lambda connection: queries.add_session(connection, record("making"), unfinished=True))
    (tmp_path / "latents" / "making").mkdir()
    store.close()
    store = SessionStore(tmp_path)
    assert {found.id for found in (await store.list()).records} == {"a", "b"}
    assert (await store.sweep(Retention(hours=FOR_EVER, max_bytes=FOR_EVER), now=0.0)).orphans == ("making",)
    store.close()


async def test_the_keeper_sweeps_at_the_start_and_again(store: SessionStore) -> None:
    (store.folder / "latents" / "stray").mkdir()
    keeper = asyncio.create_task(keep_swept(store, Retention(hours=1, max_bytes=FOR_EVER), interval=0.01))
    async with asyncio.timeout(60):
        for _ in range(2):
            while any((store.folder / "latents").iterdir()):
                await asyncio.sleep(0.01)
            (store.folder / "latents" / "again").mkdir(exist_ok=True)
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
