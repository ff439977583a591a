"""The store as the API uses it: what a call returned for is there, in order, and nothing else."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from service.errors import ConfigError
from service.store.failures import (
    ChunkOutOfTurn,
    CursorInvalid,
    ForkPointInvalid,
    SessionLive,
    SessionUnknown,
    StoreClosed,
)
from service.store.history import CoursePoint
from service.store.records import SessionRecord
from service.store.store import SessionStore
from tests.service.store.values import add, fill, prompt, record, row, take


async def test_a_session_comes_back_as_it_was_given(store: SessionStore) -> None:
    await store.open_session(record())
    await store.append_chunk("a", row(0), events=(prompt(0),))
    await store.append_note("a", '{"type": "note"}')
    await store.append_chunk("a", row(1))
    assert await store.get("a") == replace(record(), next_sequence=2)
    assert await store.chunks("a") == (row(0), row(1))
    events = await store.events("a")
    assert [(event.sequence, event.engine) for event in events] == [(0, True), (1, False)]
    assert await store.journal("a") == (prompt(0), '{"type": "note"}')


async def test_a_chunk_that_is_not_the_next_is_refused_and_leaves_nothing(store: SessionStore) -> None:
    await store.open_session(record())
    for wrong in (1, -1, 7):
        with pytest.raises(ChunkOutOfTurn, match=f"next chunk of session a is 0, not {wrong}"):
            await store.append_chunk("a", row(wrong), events=(prompt(0),))
    await store.append_chunk("a", row(0))
    with pytest.raises(ChunkOutOfTurn, match="is 1, not 0"):
        await store.append_chunk("a", row(0))
    assert (len(await store.chunks("a")), await store.events("a")) == (1, ())


async def test_a_session_that_is_not_there_is_said_so(store: SessionStore) -> None:
    calls = (
        store.get("b"),
        store.chunks("b"),
        store.events("b"),
        store.course("b"),
        store.append_chunk("b", row(0)),
        store.append_note("b", "{}"),
        store.take_back("b", 0, from_sequence=0, reason="rewind"),
        store.end_session("b", "stopped"),
        store.reopen_session("b"),
        store.delete("b"),
        store.fork("b", "c"),
        store.next_take("b"),
    )
    for call in calls:
        with pytest.raises(SessionUnknown, match="'b'") as caught:
            await call
        assert caught.value.code == "session_unknown"


async def test_the_list_goes_on_from_its_cursor_and_misses_nothing(store: SessionStore) -> None:
    names = [f"s{number}" for number in range(7)]
    for number, name in enumerate(names):
        await store.open_session(record(name, created_at=1000.0 + number // 2))  # some at the same time
    seen: list[SessionRecord] = []
    page = await store.list(limit=3)
    while page.next_cursor is not None:
        assert len(page.records) == 3
        seen += page.records
        page = await store.list(page.next_cursor, limit=3)
    seen += page.records
    assert [found.id for found in seen] == sorted(names, reverse=True)


@pytest.mark.parametrize("cursor", ["", "x", "eHg", "====", "\N{SNOWMAN}", "MSAyIDM", "bmFuIGE"])
async def test_a_cursor_of_ones_own_is_refused(store: SessionStore, cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        await store.list(cursor)


async def test_the_course_follows_rewinds_and_cuts(store: SessionStore) -> None:
    await fill(store, "a", 5)
    await add(store, "a", row(5, 2, take=1), events=(take(2, 1), prompt(2, "b")))
    course = await store.course("a")
    assert [found.sequence for found in course.rows] == [0, 1, 5]
    assert (course.next_sequence, course.events) == (6, (prompt(0), take(2, 1), prompt(2, "b")))
    await store.take_back("a", 1, from_sequence=4, reason="prompt")
    cut = await store.course("a")
    assert ([found.sequence for found in cut.rows], cut.events) == ([0], (prompt(0),))
    await add(store, "a", row(6, 1))
    assert [found.sequence for found in (await store.course("a")).rows] == [0, 6]
    # As it stood when chunk 5 was to come, and before the fourth block.
    past = await store.course("a", CoursePoint(block=4, before_sequence=5))
    assert ([found.sequence for found in past.rows], past.events) == ([0, 1, 2, 3], (prompt(0),))
    for block in (-1, 3):
        with pytest.raises(ForkPointInvalid, match=r"0\.\.2, not"):
            await store.course("a", CoursePoint(block=block))


async def test_what_took_effect_in_blocks_that_were_taken_back_waits(store: SessionStore) -> None:
    await fill(store, "a", 2)
    await add(store, "a", row(2), events=(prompt(2, "b"),))
    assert (await store.course("a")).waiting == ()
    await store.take_back("a", 1, from_sequence=1, reason="pause")
    course = await store.course("a")
    assert (len(course.rows), course.events, course.waiting) == (1, (prompt(0),), (prompt(2, "b"),))
    assert (await store.course("a", CoursePoint(block=1))).waiting == (), "a fork takes what was seen"
    await add(store, "a", row(3, 1))
    assert (await store.course("a")).waiting == (), "it takes effect again, and is then told again"


async def test_a_rewind_drops_what_waited(store: SessionStore) -> None:
    await fill(store, "a", 2)
    await add(store, "a", row(2), events=(prompt(2, "b"),))
    await store.take_back("a", 2, from_sequence=2, reason="pause")
    await store.take_back("a", 1, from_sequence=3, reason="rewind")
    assert (await store.course("a")).waiting == ()


async def test_takes_are_counted_in_a_family_and_given_once(store: SessionStore) -> None:
    await fill(store, "a", 2)
    await store.fork("a", "b", point=CoursePoint(block=1))  # takes number 1
    numbers = await asyncio.gather(*(store.next_take("a") for _ in range(20)))
    assert sorted(numbers) == list(range(2, 22))
    await store.open_session(record("z"))
    assert await store.next_take("z") == 1


async def test_only_what_has_ended_is_opened_again_or_deleted(store: SessionStore) -> None:
    await fill(store, "a", 2)
    for refused in (store.reopen_session("a"), store.delete("a")):
        with pytest.raises(SessionLive):
            await refused
    await store.end_session("a", "completed")
    ended = await store.get("a")
    assert (ended.live, ended.end_reason) == (False, "completed")
    assert (await store.reopen_session("a")).live
    await store.end_session("a", "stopped")
    await store.delete("a")
    assert (await store.list()).records == ()
    assert not (store.folder / "latents" / "a").exists()


async def test_many_writes_share_a_commit_and_all_are_answered(store: SessionStore) -> None:
    await store.open_session(record())
    before = store.commits
    await asyncio.gather(*(store.append_note("a", json.dumps({"type": "n", "n": n})) for n in range(500)))
    assert store.commits - before < 500
    assert [json.loads(text)["n"] for text in await store.journal("a")] == list(range(500))


async def test_a_write_that_fails_takes_no_other_with_it(store: SessionStore) -> None:
    await store.open_session(record())
    calls = [store.append_chunk("a", row(n if n != 3 else 90)) for n in range(6)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 3 + [ChunkOutOfTurn] * 3
    assert len(await store.chunks("a")) == 3


async def test_a_second_server_is_kept_out_and_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with pytest.raises(ConfigError, match="in use by another server"):
        SessionStore(tmp_path)
    store.close()
    with pytest.raises(StoreClosed):
        await store.append_note("a", "{}")
    SessionStore(tmp_path).close()


async def test_a_store_that_was_left_without_a_word_is_whole(tmp_path: Path) -> None:
    """What was live has ended, by the next start."""
    store = SessionStore(tmp_path)
    await fill(store, "a", 3)
    await store.end_session("a", "stopped")
    await fill(store, "b", 2)
    store.close()
    store = SessionStore(tmp_path)
    records = {found.id: found for found in (await store.list()).records}
    assert (records["a"].end_reason, records["b"].end_reason) == ("stopped", "interrupted")
    assert len(await store.chunks("b")) == 2
    store.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        SessionStore(tmp_path / "file" / "store")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_text("not a database, but long enough to be read as one" * 100)
    with pytest.raises(ConfigError, match="cannot be opened: file is not a database"):
        SessionStore(tmp_path)
    (tmp_path / "store.sqlite").unlink()
    SessionStore(tmp_path).close()
