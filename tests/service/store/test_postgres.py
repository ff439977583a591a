"""The store on a real Postgres server: the same tests as on SQLite, and what only several processes can do."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from service.errors import ConfigError
from service.store import queries
from service.store.failures import HoldLost, SessionLive, StoreFailed
from service.store.store import SessionStore, StoreOptions
from tests.service.store import test_forks, test_holds, test_prompts, test_retention, test_store
from tests.service.store.postgres import Postgres, postgres
from tests.service.store.values import fill, record, row

pytestmark = pytest.mark.system
Case = Callable[[SessionStore], Coroutine[Any, Any, None]]
CASES: list[Case] = [
    function
    for module in (test_store, test_forks, test_retention, test_holds, test_prompts)
    for name, function in vars(module).items()
    if name.startswith("test_") and list(inspect.signature(function).parameters) == ["store"]
]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def url(server: Postgres) -> str:
    return server.new_database()


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[SessionStore]:
    with closing(opened(url, tmp_path)) as made:
        yield made


def opened(url: str, folder: Path) -> SessionStore:
    return SessionStore(folder, StoreOptions(url=url, hold_seconds=60.0))


def test_there_are_cases() -> None:
    assert len(CASES) > 15


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.__name__))
async def test_the_same_holds(case: Case, store: SessionStore) -> None:
    await case(store)


async def test_two_processes_share_it_and_what_is_live_stays_so(store: SessionStore, url: str, tmp_path: Path) -> None:
    await fill(store, "a", 2)
    with closing(opened(url, tmp_path)) as other:
        assert (await other.get("a")).live
        assert await other.chunks("a") == await store.chunks("a")
        with pytest.raises(SessionLive):
            await other.delete("a")


async def test_opened_at_once_the_tables_are_made_once(url: str, tmp_path: Path) -> None:
    stores = await asyncio.gather(*(asyncio.to_thread(opened, url, tmp_path) for _ in range(4)))
    await stores[0].open_session(record())
    for store in stores:
        assert (await store.get("a")).live
        await asyncio.to_thread(store.close)


async def test_whoever_lost_a_session_to_another_process_cannot_write_to_it(
    store: SessionStore, url: str, tmp_path: Path
) -> None:
    await fill(store, "a", 2)
    store.holds.put_token("a", "digest", until=None)
    with closing(opened(url, tmp_path)) as other:
        await store.append_note("a", '{"type": "note"}')  # the token, which is written behind, is there now
        claim = await other.holds.claim("a", "digest", grace=60.0)
        assert (claim.record.live, claim.fence) == (True, 2)
        writes: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: store.append_chunk("a", row(2)),
            lambda: store.append_note("a", "{}"),
            lambda: store.take_back("a", 0, from_sequence=0, reason="rewind"),
            lambda: store.end_session("a", "stopped"),
            lambda: store.holds.let_go("a", seconds=1.0),
        )
        for write in writes:
            with pytest.raises(HoldLost):
                await write()
        await other.append_chunk("a", row(2))
        assert (await other.get("a")).next_sequence == 3


async def test_takes_are_numbered_once_whoever_asks(store: SessionStore, url: str, tmp_path: Path) -> None:
    await fill(store, "a", 1)
    with closing(opened(url, tmp_path)) as other:
        asked = [one.next_take("a") for one in (store, other) for _ in range(20)]
        assert sorted(await asyncio.gather(*asked)) == list(range(1, 41))


async def test_writers_in_each_others_way_try_again(store: SessionStore, url: str, tmp_path: Path) -> None:
    """Each locks the other's row second: a deadlock, which the server ends by failing one of them."""
    for name in "ab":
        await store.open_session(record(name))

    def crossing(first: str, second: str) -> Callable[[Any], None]:
        def work(connection: Any) -> None:
            queries.cut_session(connection, first, block=0)
            time.sleep(0.2)
            queries.cut_session(connection, second, block=0)

        return work

    with closing(opened(url, tmp_path)) as other:
        await asyncio.gather(store.write(crossing("a", "b")), other.write(crossing("b", "a")))


async def test_a_server_that_went_away_and_came_back_is_used_again(store: SessionStore, server: Postgres) -> None:
    await fill(store, "a", 3)
    await asyncio.to_thread(server.stop)
    with pytest.raises(StoreFailed):
        await store.append_chunk("a", row(3))
    await asyncio.to_thread(server.start)
    await store.append_chunk("a", row(3))
    assert len(await store.chunks("a")) == 4


@pytest.mark.parametrize("url", ["mysql://a/b", "nonsense", "sqlite:///x", "postgresql+nothing://a/b"])
def test_another_kind_of_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="store_url"):
        opened(url, tmp_path)
