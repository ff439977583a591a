"""A copy of a whole store that can be put back: database and files, each file with its sum, checked after writing.

Knows SQLite's online copy and a folder's files; nothing of what is in them but latents, nor of who else uses the store.
Invariants: a server may go on writing meanwhile; what the copied database names was there when it was copied; a folder
with a manifest is whole; nothing is written over.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from sqlalchemy import Connection

from service.latent_files import session_folder, stored_sequences
from service.store import queries
from service.store.database import DATABASE, LOCK, open_database
from service.store.failures import BackupInvalid, StoreFailed, StoreVersionUnknown
from service.store.migrate import newest, version_of
from service.store.records import course_of

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
_NOT_COPIED = frozenset({DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOCK})


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """One file of a backup; `path` is relative to it, with slashes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds. `incomplete`: sessions of whose course the store itself has not all latents."""

    made_at: float
    store_version: str
    files: tuple[CopiedFile, ...]
    incomplete: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


def make_backup(store: Path, target: Path) -> Backup:
    """Copy the store to the folder `target`, which is there only once it is whole and checked.

    Raises:
        StoreFailed: there is no store, the target is not free, or the database does not pass its own checks.
    """
    if not (store / DATABASE).is_file():
        raise StoreFailed(f"there is no store in {store}")
    work = _begin(target)
    try:
        # Files first: what a row names was whole before the row was written. Then what has come meanwhile.
        _copy_files(store, work)
        _copy_database(store, work)
        _copy_files(store, work)
        backup = _describe(work)
        _write_manifest(work, backup)
        check_backup(work)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return backup


def check_backup(folder: Path) -> Backup:
    """What a backup holds, after reading all of it. Raises BackupInvalid."""
    backup = _read_manifest(folder)
    named = {file.path for file in backup.files}
    if found := sorted({path for path, _ in _files(folder)} - named - {MANIFEST}):
        raise BackupInvalid(f"{folder / found[0]} is not named in the backup's {MANIFEST}")
    for file in backup.files:
        _check_file(folder, file)
    _check_database(folder)
    return backup


def restore_backup(folder: Path, store: Path) -> Backup:
    """Put a checked backup where there is no store yet. Nobody may use `store` meanwhile.

    Raises:
        BackupInvalid: a file of the backup is missing, too many, or not what it was.
        StoreFailed: there is something where the store shall be.
        StoreVersionUnknown: a newer program made the backup.
    """
    backup = check_backup(folder)
    if backup.store_version > newest():
        raise StoreVersionUnknown(
            f"the backup is of version {backup.store_version}; this program reads up to {newest()}"
        )
    work = _begin(store)
    try:
        for file in backup.files:
            _copy(folder / file.path, work / file.path)
            _check_file(work, file)
        if store.is_dir():
            store.rmdir()  # an empty one, or `_begin` had refused it
        work.rename(store)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return backup


def _begin(target: Path) -> Path:
    """An empty folder beside the target, to be renamed to it."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StoreFailed(f"{target} is there already; nothing is written over")
    work = target.with_name(f".{target.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every whole file below a folder, in order; those that are being written have a name with a dot first."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place) / name
            if not name.startswith("."):
                yield PurePosixPath(path.relative_to(folder)).as_posix(), path


def _copy_files(store: Path, work: Path) -> None:
    """What is not there yet, or has changed. A file that vanishes meanwhile was deleted, and its row before it."""
    for name, path in _files(store):
        copy = work / name
        try:
            known = copy.exists() and _stamp(copy) == _stamp(path)
            if name not in _NOT_COPIED and not known:
                _copy(path, copy)
        except FileNotFoundError:
            copy.unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _copy_database(store: Path, work: Path) -> None:
    """SQLite's own copy, in one reading transaction: writers are not kept waiting."""
    try:
        with (
            closing(sqlite3.connect(f"file:{store / DATABASE}?mode=rw", uri=True)) as source,
            closing(sqlite3.connect(work / DATABASE)) as target,
        ):
            source.execute("PRAGMA query_only = ON")
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise StoreFailed(f"the database of {store} cannot be copied: {error}") from error


def _describe(work: Path) -> Backup:
    files = tuple(CopiedFile(name, path.stat().st_size, _sum(path)) for name, path in _files(work))
    engine = open_database(work, busy_timeout=5.0, read_only=True)
    try:
        with engine.begin() as connection:
            version = version_of(connection) or "none"
            incomplete = tuple(name for name in sorted(queries.all_ids(connection)) if _lacks(connection, work, name))
    finally:
        engine.dispose()
    return Backup(time.time(), version, files, incomplete)


def _lacks(connection: Connection, work: Path, session: str) -> bool:
    """Whether latents of the session's course are missing."""
    stored = set(stored_sequences(session_folder(work, session)))
    return any(row.sequence not in stored for row in course_of(queries.chunks_of(connection, session)))


def _write_manifest(work: Path, backup: Backup) -> None:
    document = {"version": MANIFEST_VERSION, **asdict(backup)}
    with (work / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _read_manifest(folder: Path) -> Backup:
    try:
        document = json.loads((folder / MANIFEST).read_text("utf-8"))
        if document.pop("version") != MANIFEST_VERSION:
            raise BackupInvalid(f"{folder / MANIFEST} is of another version than {MANIFEST_VERSION}")
        files = tuple(CopiedFile(**file) for file in document.pop("files"))
        return Backup(files=files, incomplete=tuple(document.pop("incomplete")), **document)
    except OSError as error:
        raise BackupInvalid(f"{folder} is no whole backup: {MANIFEST}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupInvalid(f"{folder / MANIFEST} is not what a backup writes: {error}") from error


def _check_file(folder: Path, file: CopiedFile) -> None:
    path = folder / file.path
    inside = not os.path.isabs(file.path) and ".." not in PurePosixPath(file.path).parts
    if not inside or not path.is_file() or path.is_symlink():
        raise BackupInvalid(f"{path} is missing from the backup")
    if (path.stat().st_size, _sum(path)) != (file.size, file.sha256):
        raise BackupInvalid(f"{path} is not what was written into the backup")


def _check_database(folder: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro&immutable=1", uri=True)) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error as error:
        raise BackupInvalid(f"the database in {folder} cannot be read: {error}") from error
    if said != ["ok"] or broken:
        raise BackupInvalid(f"the database in {folder} does not pass its own checks: {(said, broken)!r:.200}")


def _sum(path: Path) -> str:
    """SHA-256 of the file, whose content is on the disk afterwards."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
