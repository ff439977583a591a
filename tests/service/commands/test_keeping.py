"""`longtake backup`, `restore` and `migrate` from the command line."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.errors import ConfigError
from service.store.failures import BackupInvalid, StoreFailed, StoreVersionUnknown
from service.store.migrate import BASELINE, newest
from service.store.store import SessionStore
from tests.service.store.test_migrate import make_landed
from tests.service.store.values import fill


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    async def write() -> None:
        store = SessionStore(tmp_path / "store")
        await fill(store, "a", 3)
        store.close()

    asyncio.run(write())
    return tmp_path


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_backup_check_and_restore(folder: Path) -> None:
    store, backup, new = (str(folder / name) for name in ("store", "backup", "new"))
    server = SessionStore(folder / "store")
    made = json.loads(run("backup", backup, "--store", store, "--json"))
    server.close()
    assert (made["made"], made["version"], made["files"], made["incomplete"]) == (backup, newest(), 4, [])
    assert json.loads(run("backup", backup, "--check", "--json"))["whole"] == backup
    assert run("restore", backup, "--store", new).startswith(f"restored: {new}, version {newest()}, 4 files")
    assert "video: 3 blocks" in run("sessions", "show", "a", "--store", new)
    with pytest.raises(StoreFailed):
        run("restore", backup, "--store", store)
    with pytest.raises(BackupInvalid):
        run("backup", store, "--check")


def test_migrate_there_and_back(tmp_path: Path) -> None:
    make_landed(tmp_path, BASELINE)
    words = ("migrate", "--store", str(tmp_path), "--json")
    assert json.loads(run(*words))["version"] == newest()
    back = json.loads(run(*words, "--back"))
    assert (back["before"], back["version"]) == (newest(), f"{int(newest()) - 1:04d}")
    while back["version"] != BASELINE:
        back = json.loads(run(*words, "--back"))
    with pytest.raises(StoreVersionUnknown):
        run(*words, "--back")
    server = SessionStore(tmp_path)
    with pytest.raises(ConfigError, match="in use by another server"):
        run(*words)
    server.close()


def test_a_store_in_postgres_is_copied_by_its_own_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_STORE_URL", "postgresql+psycopg://a@127.0.0.1:1/b")
    for words in (("backup", str(tmp_path / "a")), ("restore", str(tmp_path / "a"))):
        with pytest.raises(ConfigError, match="pg_dump"):
            run(*words)
    # A folder that is named is meant, whatever the settings say.
    assert json.loads(run("migrate", "--store", str(tmp_path / "store"), "--json"))["version"] == newest()
