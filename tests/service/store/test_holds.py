"""Who holds a session, and with which token it is taken over; on any database (test_postgres.py runs these too)."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from service.store.failures import SessionLive, SessionUnknown, TokenRefused
from service.store.store import SessionStore
from tests.service.store.values import fill, record, row


async def left_alone(store: SessionStore, *, digest: str = "one", until: float | None = None) -> None:
    """A session of two blocks that this process has let go of, with a token."""
    await fill(store, "a", 2)
    store.holds.put_token("a", digest, until=until)
    await store.holds.let_go("a", seconds=60.0)


async def test_a_token_takes_a_session_over_and_is_good_until_the_next_is_known(store: SessionStore) -> None:
    await left_alone(store)
    claim = await store.holds.claim("a", "one", grace=60.0)
    assert (claim.record.live, claim.record.next_sequence, claim.fence) == (True, 2, 2)
    await store.append_chunk("a", row(2))
    store.holds.put_token("a", "two", until=None)
    await store.holds.let_go("a", seconds=60.0)
    # The answer with the second one may not have arrived.
    assert (await store.holds.claim("a", "one", grace=60.0)).fence == 3
    store.holds.confirm_token("a")
    await store.holds.let_go("a", seconds=60.0)
    with pytest.raises(TokenRefused):
        await store.holds.claim("a", "one", grace=60.0)
    assert (await store.holds.claim("a", "two", grace=60.0)).fence == 4


async def test_a_wrong_token_changes_nothing(store: SessionStore) -> None:
    await left_alone(store)
    with pytest.raises(TokenRefused) as caught:
        await store.holds.claim("a", "other", grace=60.0)
    assert (caught.value.known, caught.value.live) == (True, True)
    with pytest.raises(SessionUnknown):
        await store.holds.claim("b", "one", grace=60.0)
    store.holds.drop_token("a")
    with pytest.raises(TokenRefused) as caught:
        await store.holds.claim("a", "one", grace=60.0)
    assert caught.value.known is False


async def test_a_token_is_good_for_its_time(store: SessionStore) -> None:
    await left_alone(store, until=time.time() - 1.0)
    with pytest.raises(TokenRefused):
        await store.holds.claim("a", "one", grace=60.0)


async def test_a_session_that_broke_off_lives_again_within_the_grace(store: SessionStore) -> None:
    await left_alone(store)
    await store.end_session("a", "interrupted")
    with pytest.raises(TokenRefused):
        await store.holds.claim("a", "one", grace=0.0)
    claim = await store.holds.claim("a", "one", grace=60.0)
    assert (claim.record.end_reason, (await store.get("a")).live) == ("interrupted", True)


async def test_what_is_held_here_is_not_taken_over_here(store: SessionStore) -> None:
    await fill(store, "a", 1)
    store.holds.put_token("a", "one", until=None)
    with pytest.raises(SessionLive):
        await store.holds.claim("a", "one", grace=60.0)
    assert await store.holds.held_elsewhere("a") is False


async def test_what_nobody_came_back_to_ends(store: SessionStore) -> None:
    await fill(store, "a", 1)
    await store.open_session(record("b"))
    await store.holds.let_go("b", seconds=-10.0)
    assert await store.holds.end_abandoned(grace=60.0) == ()
    assert await store.holds.end_abandoned(grace=5.0) == ("b",)
    assert ((await store.get("a")).live, (await store.get("b")).end_reason) == (True, "interrupted")


async def test_a_token_for_what_is_not_there_is_nothing(store: SessionStore) -> None:
    store.holds.put_token("none", "one", until=None)
    await store.open_session(record())


async def test_tokens_are_there_after_a_restart(tmp_path: Path) -> None:
    with closing(SessionStore(tmp_path)) as store:
        await fill(store, "a", 2)
        store.holds.put_token("a", "one", until=None)
    with closing(SessionStore(tmp_path)) as store:
        assert (await store.get("a")).end_reason == "interrupted"
        claim = await store.holds.claim("a", "one", grace=60.0)
        assert claim.record.next_sequence == 2
