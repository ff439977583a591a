"""The files of a preset into the model folder: from a folder at hand, from the hub, or from an address.

Each file is fetched only if it is not already there and whole, goes on where it was broken off, and counts as there
once its length and sum are right. A file of another sum never stands under the right name. The licence is not asked
for here (licences.py). Knows nothing of what is in the files.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from models.errors import WeightsError
from models.presets import ModelFile, Preset
from models.sums import PIECE, check_file, file_sha256, size_problem
from models.transport import Address, FetchError, Patience, download, hub_address

Outcome = Literal["present", "copied", "downloaded"]
Doing = Literal["checking", "copying", "downloading"]
PART_SUFFIX: Final = ".part"


@dataclass(frozen=True, slots=True)
class FileProgress:
    """What is done to a file, and how much of it; `total_bytes` is None where nobody says."""

    file: ModelFile
    doing: Doing
    done_bytes: int
    total_bytes: int | None


Progress = Callable[[FileProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """Where files may come from. `source`: a folder to take them from; `offline`: from nowhere else."""

    source: Path | None = None
    offline: bool = False
    endpoint: str | None = None
    """Of the hub; its own setting if None."""
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is there and whole."""

    file: ModelFile
    outcome: Outcome
    sha256: str


def fetch_preset(preset: Preset, model_dir: Path, *, options: FetchOptions, progress: Progress) -> Iterator[Fetched]:
    """Every file of a preset, one after the other. Raises FetchError or WeightsError, which name the file.

    Whether all files can be had is found out before the first is fetched.
    """
    _check_all_can_be_had(preset, model_dir, options)
    for file in preset.files:
        yield _fetch(file, model_dir, options=options, progress=progress)


def find_in(source: Path, file: ModelFile) -> Path | None:
    """A file in a folder at hand: as the model folder has it, as its repository has it, by name, or in a hub cache."""
    candidates = [source / file.name, source / file.path, source / Path(file.path).name]
    if file.repository is not None:
        cached = source / f"models--{file.repository.replace('/', '--')}" / "snapshots"
        revisions = [cached / file.revision] if file.revision else sorted(cached.glob("*"))
        candidates += [revision / file.path for revision in revisions]
    return next((path for path in candidates if path.is_file()), None)


def _check_all_can_be_had(preset: Preset, model_dir: Path, options: FetchOptions) -> None:
    wanted = [file for file in preset.files if size_problem(file, model_dir) is not None]
    found = {file.name: options.source is not None and find_in(options.source, file) is not None for file in wanted}
    lost = [file.name for file in wanted if not found[file.name] and (options.offline or not file.fetched)]
    if lost:
        places = " or ".join(str(place) for place in (options.source, model_dir) if place is not None)
        message = f"model {preset.name}: {len(lost)} files are not in {places}: {', '.join(lost)}"
        raise FetchError(message, field="files")
    needed = sum(file.size or 0 for file in wanted)
    model_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(model_dir).free
    if needed > free:
        raise FetchError(f"{model_dir}: expected {needed} bytes of room, found {free}", field="model_dir")


def _fetch(file: ModelFile, model_dir: Path, *, options: FetchOptions, progress: Progress) -> Fetched:
    if size_problem(file, model_dir) is None:
        # A file of the right length and another sum is fetched anew.
        with suppress(WeightsError):
            return Fetched(file, "present", _check(file, model_dir, progress))
    source = None if options.source is None else find_in(options.source, file)
    outcome: Outcome = "downloaded" if source is None else "copied"
    if source is not None:
        _copy(file, source, model_dir, progress)
    elif options.offline or not file.fetched:
        check_file(file, model_dir)
    else:
        _download(file, model_dir, options, progress)
    return Fetched(file, outcome, _check(file, model_dir, progress))


def _check(file: ModelFile, model_dir: Path, progress: Progress) -> str:
    return check_file(file, model_dir, read=_counter(file, "checking", progress))


def _counter(file: ModelFile, doing: Doing, progress: Progress) -> Callable[[int], None]:
    """Adds up pieces."""
    done = 0

    def count(read: int) -> None:
        nonlocal done
        done += read
        progress(FileProgress(file, doing, done, file.size))

    return count


def _copy(file: ModelFile, source: Path, model_dir: Path, progress: Progress) -> None:
    target = file.location(model_dir)
    part = _part(target)
    count = _counter(file, "copying", progress)
    with open(source, "rb") as reading, open(part, "wb") as writing:
        while piece := reading.read(PIECE):
            writing.write(piece)
            count(len(piece))
    _put(part, target, size=file.size, sha256=file.sha256, named=f"{file.name}: {source}")


def _download(file: ModelFile, model_dir: Path, options: FetchOptions, progress: Progress) -> None:
    assert file.repository is not None, "only files that can be fetched are"
    address = (
        hub_address(file.repository, file.path, revision=file.revision, endpoint=options.endpoint)
        if file.url is None
        else Address(url=file.url, size=file.size)
    )
    size, sha256 = file.size or address.size, file.sha256 or address.sha256
    target = file.location(model_dir)
    part = _part(target)

    def count(done: int) -> None:
        progress(FileProgress(file, "downloading", done, size))

    try:
        download(address, part, count=count, patience=options.patience)
    except FetchError as error:
        raise FetchError(f"{file.name}: {error}", field="files") from error
    _put(part, target, size=size, sha256=sha256, named=f"{file.name}: {address.url}")


def _part(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(target.name + PART_SUFFIX)


def _put(part: Path, target: Path, *, size: int | None, sha256: str | None, named: str) -> None:
    """Give a file its name if it is the one that is meant; else nothing of it stays."""
    found = part.stat().st_size
    problem = None if size is None or found == size else f"expected {size} bytes, found {found}"
    if problem is None and sha256 is not None:
        computed = file_sha256(part)
        problem = None if computed == sha256 else f"expected sha256 {sha256}, found {computed}"
    if problem is not None:
        part.unlink()
        raise FetchError(f"{named}: {problem}", field="files")
    os.replace(part, target)
