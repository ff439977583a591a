"""A store copied and put back: while it is written to, checked to the last byte, and never over anything."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import ErrorCode
from service.latent_files import latent_path
from service.store.backup import MANIFEST, check_backup, make_backup, restore_backup
from service.store.database import DATABASE
from service.store.failures import BackupInvalid, StoreFailed, StoreVersionUnknown
from service.store.store import SessionStore
from tests.service.store.values import fill, prompt, row


async def test_a_store_comes_back_as_it_was(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "store")
    await fill(store, "a", 3)
    await store.end_session("a", "stopped")
    (tmp_path / "store" / "media").mkdir()
    (tmp_path / "store" / "media" / "film.mp4").write_bytes(b"film")
    made = make_backup(tmp_path / "store", tmp_path / "backup")
    await store.delete("a")
    store.close()

    assert check_backup(tmp_path / "backup") == made
    assert restore_backup(tmp_path / "backup", tmp_path / "new") == made
    assert (made.incomplete, len(made.files)) == ((), 1 + 3 + 1)
    again = SessionStore(tmp_path / "new")
    assert ((await again.get("a")).end_reason, len(await again.chunks("a"))) == ("stopped", 3)
    again.close()
    assert (tmp_path / "new" / "media" / "film.mp4").read_bytes() == b"film"
    assert latent_path(tmp_path / "new", "a", sequence=2).is_file()
    assert not (tmp_path / "new" / MANIFEST).exists()


async def test_a_backup_of_a_store_that_is_written_to_is_whole(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "store")
    await fill(store, "a", 1)
    more = asyncio.Event()

    async def write() -> None:
        sequence = 1
        while not more.is_set():
            latent_path(store.folder, "a", sequence=sequence).write_bytes(b"x" * 100)
            await store.append_chunk("a", row(sequence), events=(prompt(sequence),))
            sequence += 1

    writing = asyncio.create_task(write())
    for number in range(5):
        made = await asyncio.to_thread(make_backup, store.folder, tmp_path / f"backup{number}")
        # Of every chunk that the copied database names, the copy has the latents.
        assert made.incomplete == ()
    more.set()
    await writing
    store.close()


async def test_latents_that_the_store_itself_lacks_are_told(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "store")
    await fill(store, "a", 3)
    await fill(store, "b", 2, created_at=2000.0)
    store.close()
    latent_path(tmp_path / "store", "b", sequence=1).unlink()
    assert make_backup(tmp_path / "store", tmp_path / "backup").incomplete == ("b",)


def _flip(backup: Path) -> None:
    path = latent_path(backup, "a", sequence=1)
    path.write_bytes(b"y" + path.read_bytes()[1:])


def _lose(backup: Path) -> None:
    latent_path(backup, "a", sequence=1).unlink()


def _add(backup: Path) -> None:
    (backup / "latents" / "more").write_bytes(b"more")


def _cut(backup: Path) -> None:
    text = (backup / MANIFEST).read_text()
    (backup / MANIFEST).write_text(text[: len(text) // 2])


def _no_manifest(backup: Path) -> None:
    (backup / MANIFEST).unlink()


def _leave(backup: Path) -> None:
    document = json.loads((backup / MANIFEST).read_text())
    document["files"][0]["path"] = "../outside"
    (backup / MANIFEST).write_text(json.dumps(document))


def _renumber(backup: Path) -> None:
    document = json.loads((backup / MANIFEST).read_text())
    (backup / MANIFEST).write_text(json.dumps(document | {"version": 99}))


@pytest.mark.parametrize("harm", [_flip, _lose, _add, _cut, _no_manifest, _leave, _renumber])
async def test_a_backup_that_is_not_whole_is_refused(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    store = SessionStore(tmp_path / "store")
    await fill(store, "a", 3)
    store.close()
    make_backup(tmp_path / "store", tmp_path / "backup")
    harm(tmp_path / "backup")
    with pytest.raises(BackupInvalid) as refused:
        restore_backup(tmp_path / "backup", tmp_path / "new")
    assert refused.value.code == ErrorCode.BACKUP_INVALID
    assert not (tmp_path / "new").exists()


async def test_nothing_is_written_over(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "store")
    await fill(store, "a", 1)
    store.close()
    make_backup(tmp_path / "store", tmp_path / "backup")
    with pytest.raises(StoreFailed, match="there already"):
        make_backup(tmp_path / "store", tmp_path / "backup")
    with pytest.raises(StoreFailed, match="there already"):
        restore_backup(tmp_path / "backup", tmp_path / "store")
    with pytest.raises(StoreFailed, match="there is no store"):
        make_backup(tmp_path / "backup" / "latents", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "store"]


async def test_a_backup_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    SessionStore(tmp_path / "store").close()
    connection = sqlite3.connect(tmp_path / "store" / DATABASE)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    make_backup(tmp_path / "store", tmp_path / "backup")
    with pytest.raises(StoreVersionUnknown, match="of version 9999"):
        restore_backup(tmp_path / "backup", tmp_path / "new")
