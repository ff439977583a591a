"""`longtake sessions` and `longtake replay` from the command line, over a store that a server left."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.commands.options import OptionError
from service.commands.stored import check_cut
from service.store.failures import SessionUnknown, StoreFailed
from service.store.store import SessionStore
from tests.service.store.values import fill


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    async def write() -> None:
        store = SessionStore(tmp_path)
        await fill(store, "a", 3)
        await store.end_session("a", "stopped")
        await fill(store, "b", 1, created_at=2000.0)
        store.close()

    asyncio.run(write())
    return tmp_path


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_is_the_newest_first(folder: Path) -> None:
    said = run("sessions", "list", "--store", str(folder))
    assert [line.split()[0] for line in said.splitlines()] == ["b", "a"]
    records = [json.loads(line) for line in run("sessions", "list", "--store", str(folder), "--json").splitlines()]
    assert [(record["id"], record["next_sequence"]) for record in records] == [("b", 1), ("a", 3)]
    assert len(run("sessions", "list", "--store", str(folder), "--limit", "1").splitlines()) == 1


def test_a_session_is_shown_while_a_server_has_the_store(folder: Path) -> None:
    store = SessionStore(folder)
    said = run("sessions", "show", "a", "--store", str(folder))
    assert "video: 3 blocks, 2.25 s of 96x64" in said
    document = json.loads(run("sessions", "show", "a", "--store", str(folder), "--json"))
    assert [chunk["sequence"] for chunk in document["chunks"]] == [0, 1, 2]
    store.close()


def test_delete_takes_the_latents_too(folder: Path) -> None:
    assert json.loads(run("sessions", "delete", "a", "--store", str(folder), "--json")) == {"deleted": "a"}
    assert [path.name for path in (folder / "latents").iterdir()] == ["b"]
    with pytest.raises(SessionUnknown):
        run("sessions", "show", "a", "--store", str(folder))


def test_what_is_not_there_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="there is no store in"):
        run("sessions", "list", "--store", str(tmp_path / "none"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["replay"], ["replay", "a", "--journal", "x.json"]])
def test_a_replay_is_of_one_thing(words: list[str]) -> None:
    with pytest.raises(OptionError, match="one of the two"):
        run(*words)


def test_a_cut_is_one_of_two() -> None:
    assert (check_cut("final"), check_cut("aired")) == ("final", "aired")
    with pytest.raises(OptionError, match="expected final or aired, not 'all'"):
        check_cut("all")
