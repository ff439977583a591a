"""Whether a file is the one that a preset means: its length and its SHA-256.

A sum that was computed is remembered in the model folder under the file's length and times, so that the gigabytes are
read once and not at every start; whoever changes a file changes its times. A folder that cannot be written to is only
slower. Knows nothing of what is in the files.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from models.errors import WeightsError
from models.presets import ModelFile, Preset

RECORD: Final = ".longtake-sums.json"
PIECE: Final = 2**20
Read = Callable[[int], None]
"""Told of the bytes of every piece as it is read."""


def file_sha256(path: Path, *, read: Read | None = None) -> str:
    """Of the whole file, read piece by piece."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            if read is not None:
                read(len(piece))
    return digest.hexdigest()


def sum_of(path: Path, model_dir: Path, *, read: Read | None = None) -> str:
    """A file's SHA-256, remembered if the file has not changed since it was computed."""
    stamp = _stamp(path)
    record = _read_record(model_dir)
    known = record.get(str(path.absolute()))
    if isinstance(known, dict) and known.get("stamp") == stamp and isinstance(known.get("sha256"), str):
        return str(known["sha256"])
    computed = file_sha256(path, read=read)
    _write_record(model_dir, _read_record(model_dir) | {str(path.absolute()): {"stamp": stamp, "sha256": computed}})
    return computed


def size_problem(file: ModelFile, model_dir: Path) -> str | None:
    """What is wrong with a file at first sight: that it is not there, or of another length."""
    path = file.location(model_dir)
    if not path.is_file():
        return f"{path}: expected the file {file.name}, found none"
    found = path.stat().st_size
    if file.size is not None and found != file.size:
        return f"{path}: expected {file.size} bytes, found {found}"
    return None


def check_file(file: ModelFile, model_dir: Path, *, read: Read | None = None) -> str:
    """The file's SHA-256. Raises WeightsError for one that is not there, is damaged, or is another."""
    problem = size_problem(file, model_dir)
    if problem is not None:
        raise WeightsError(problem, field="model")
    path = file.location(model_dir)
    found = sum_of(path, model_dir, read=read)
    if file.sha256 is not None and found != file.sha256:
        raise WeightsError(
            f"{path}: damaged, or another file: expected sha256 {file.sha256}, found {found}", field="model"
        )
    return found


def files_digest(preset: Preset, model_dir: Path) -> str:
    """One digest of all files of a preset. Raises WeightsError as `check_file`."""
    sums = [[file.role, file.path, check_file(file, model_dir)] for file in preset.files]
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read_record(model_dir: Path) -> dict[str, object]:
    try:
        record = json.loads((model_dir / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # none yet, or one that a crash cut short: the sums are computed again
    return record if isinstance(record, dict) else {}


def _write_record(model_dir: Path, record: dict[str, object]) -> None:
    beside = model_dir / f"{RECORD}.{os.getpid()}.tmp"
    with suppress(OSError):  # a folder that is mounted to be read only
        beside.write_text(json.dumps(record, indent=1), encoding="utf-8")
        os.replace(beside, model_dir / RECORD)
