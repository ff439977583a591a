"""The files of jobs: what each begins with, the fragments it has so far, and what it is in the end.

Knows names, bytes and the disk; nothing of SQL, codecs or the engine. Invariants: a file has its final name only once
it is whole and on the disk; fragments are on the disk when `append` returns; each attempt writes into a file of its
own, so that a late writer of an older one spoils nothing.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Self

JOBS = "jobs"
OPENING = "opening"
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class JobFiles:
    """`root` is the store's folder."""

    root: Path

    def folder(self, job: str) -> Path:
        return self.root / JOBS / job

    def fragments(self, job: str, attempt: int) -> Path:
        return self.folder(job) / f"fragments-{attempt}.mp4"

    def free_bytes(self) -> int:
        """Room on the disk. Raises OSError."""
        return shutil.disk_usage(self.root).free

    def keep_opening(self, job: str, data: bytes) -> str:
        """Store what a job begins with; the file's name. Raises OSError."""
        write_whole(self.folder(job) / OPENING, data)
        return OPENING

    def read(self, job: str, name: str) -> bytes:
        """Raises OSError."""
        return (self.folder(job) / name).read_bytes()

    def names(self) -> tuple[str, ...]:
        """Jobs that have a folder."""
        folder = self.root / JOBS
        return tuple(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else ()

    def old_names(self, before: float) -> tuple[str, ...]:
        """Jobs whose folder has not changed since then, in seconds since 1970."""
        found = ((name, self.folder(name)) for name in self.names())
        return tuple(name for name, folder in found if folder.is_dir() and folder.stat().st_mtime < before)

    def remove(self, job: str) -> None:
        """All of a job's files; what cannot be removed now is for the next sweep."""
        shutil.rmtree(self.folder(job), ignore_errors=True)

    def remove_fragments(self, job: str) -> None:
        """Of all attempts."""
        for path in self.folder(job).glob("fragments-*.mp4"):
            path.unlink(missing_ok=True)

    def remove_made(self, job: str) -> None:
        """All but what the job began with."""
        for path in self.folder(job).glob("*"):
            if path.name != OPENING:
                path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """`attempt` has the fragments: `media_bytes` of them, of which the first `frames` frames are the film."""

    job: str
    attempt: int
    media_bytes: int
    frames: int
    fps: int
    model: str
    chapters: tuple[tuple[float, str], ...]


class FragmentFile:
    """One attempt's file, open for writing."""

    def __init__(self, file: FileIO, length: int) -> None:
        self._file = file
        self.length = length

    @classmethod
    def begin(cls, files: JobFiles, job: str, *, attempt: int, of: tuple[int, int]) -> Self:
        """A file that begins with what counts of an earlier attempt's: its number and bytes. Raises OSError."""
        number, length = of
        make_folder(files.folder(job))
        file = files.fragments(job, attempt).open("w+b", buffering=0)
        try:
            if length:
                with files.fragments(job, number).open("rb") as before:
                    _copy(before, file, length)
            os.fsync(file.fileno())
            sync_folder(files.folder(job))
        except BaseException:
            file.close()
            raise
        return cls(file, length)

    def append(self, data: bytes) -> int:
        """The length with it. What an append that failed has left is written over by the next. Raises OSError."""
        written = 0
        while written < len(data):
            written += os.pwrite(self._file.fileno(), data[written:], self.length + written)
        os.fsync(self._file.fileno())
        self.length += written
        return self.length

    def close(self) -> None:
        self._file.close()


def write_whole(path: Path, data: bytes) -> None:
    """A file that is there whole, on the disk, or not at all. Raises OSError."""
    make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(data)
        _sync(file)
    unfinished.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """With those it lies in, on the disk. Raises OSError."""
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The names in it are on the disk. Raises OSError."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def digest(path: Path) -> str:
    """SHA-256 of its bytes, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _copy(source: BinaryIO, target: FileIO, length: int) -> None:
    while length:
        part = source.read(min(length, _AT_ONCE))
        if not part:
            raise OSError(f"expected {length} bytes more of stored fragments")
        length -= len(part)
        while part:
            part = part[target.write(part) :]
