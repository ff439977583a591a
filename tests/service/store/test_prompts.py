"""Prompts that were accepted: kept until they end, on any database (test_postgres.py runs these too)."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from service.store.failures import HoldLost
from service.store.prompts import AcceptedPrompt, PromptEnd
from service.store.store import SessionStore
from tests.service.store.values import FPS, FRAMES, add, fill, record, row

BLOCK = FRAMES / FPS


def prompt(name: str) -> AcceptedPrompt:
    return AcceptedPrompt(event_id=name, digest=f"digest of {name}", document=f'{{"event_id": "{name}"}}')


async def waiting(store: SessionStore) -> dict[str, float]:
    return {one.event_id: one.not_before for one in await store.prompts("a") if one.outcome is None}


async def test_what_was_accepted_waits_in_order_until_its_chunk_is_stored(store: SessionStore) -> None:
    await fill(store, "a", 2)
    for name in ("b", "a", "c"):
        await store.accept_prompt("a", prompt(name), keep=8)
    assert [one.event_id for one in await store.prompts("a")] == ["b", "a", "c"]
    await store.append_chunk("a", row(2), ended=(PromptEnd("a", "applied"),))
    await store.end_prompt("a", PromptEnd("b", "superseded"))
    found = {one.event_id: (one.outcome, one.sequence) for one in await store.prompts("a")}
    assert found == {"b": ("superseded", 3), "a": ("applied", 2), "c": (None, None)}


async def test_a_chunk_that_cannot_be_stored_ends_no_prompt(store: SessionStore) -> None:
    await fill(store, "a", 1)
    await store.accept_prompt("a", prompt("p"), keep=8)
    with pytest.raises(Exception, match="next chunk"):
        await store.append_chunk("a", row(7), ended=(PromptEnd("p", "applied"),))
    assert await waiting(store) == {"p": 0.0}


async def test_what_was_made_before_is_not_changed_by_those_that_wait_unless_the_video_goes_back(
    store: SessionStore,
) -> None:
    await fill(store, "a", 4)
    await store.accept_prompt("a", prompt("p"), keep=8)
    await store.take_back("a", 2, from_sequence=2, reason="resume")
    assert await waiting(store) == {"p": 4 * BLOCK}
    await store.take_back("a", 1, from_sequence=1, reason="resume")  # the next one was lost as well, with less
    await store.take_back("a", 1, from_sequence=1, reason="pause")
    assert await waiting(store) == {"p": 4 * BLOCK}
    await store.take_back("a", 1, from_sequence=4, reason="rewind")
    assert await waiting(store) == {"p": 0.0}
    await store.take_back("a", 0, from_sequence=0, reason="resume")
    assert await waiting(store) == {"p": BLOCK}


async def test_those_that_ended_are_forgotten_after_so_many_and_those_that_wait_never(store: SessionStore) -> None:
    await fill(store, "a", 1)
    await store.accept_prompt("a", prompt("waits"), keep=2)
    for number in range(5):
        await store.accept_prompt("a", prompt(str(number)), keep=2)
        await store.end_prompt("a", PromptEnd(str(number), "superseded"))
    assert [one.event_id for one in await store.prompts("a")] == ["waits", "2", "3", "4"]
    await store.accept_prompt("a", prompt("3"), keep=2)  # a name that is free again
    assert [one.event_id for one in await store.prompts("a")][-1] == "3"


async def test_an_end_in_order_ends_them_and_they_go_with_their_session(store: SessionStore) -> None:
    await fill(store, "a", 1)
    await store.accept_prompt("a", prompt("p"), keep=8)
    await store.end_session("a", "stopped")
    assert await store.prompts("a") == ()
    await store.reopen_session("a")
    await store.accept_prompt("a", prompt("p"), keep=8)
    await store.end_session("a", "stopped")
    await store.delete("a")
    await store.open_session(record("a"))
    assert await store.prompts("a") == ()


async def test_only_who_holds_the_session_takes_prompts_for_it(store: SessionStore) -> None:
    await fill(store, "a", 1)
    await store.holds.let_go("a", seconds=60.0)
    with pytest.raises(HoldLost):
        await store.accept_prompt("a", prompt("late"), keep=8)
    assert await store.prompts("a") == ()


async def test_they_are_there_after_a_server_that_was_killed(tmp_path: Path) -> None:
    with closing(SessionStore(tmp_path)) as store:
        await store.open_session(record("a", created_at=time.time()))
        await add(store, "a", row(0))
        await store.accept_prompt("a", prompt("p"), keep=8)
    with closing(SessionStore(tmp_path)) as store:
        assert (await store.get("a")).end_reason == "interrupted"
        assert await waiting(store) == {"p": 0.0}
