"""Where the latents of a session's chunks lie: one file for each chunk.

Knows names and folders only; nothing of tensors, SQL or processes, so worker, store and commands share it. Invariant:
a file that has its final name is whole: whoever writes it gives it another name first (`unfinished_path`), and renames.
"""

import os
import re
from pathlib import Path

from service.errors import ConfigError

LATENTS = "latents"
TENSOR = "latents"
"""Name of the only tensor in a file."""
_SUFFIX = ".safetensors"
_DIGITS = 8
_OPENING = "opening-"
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def session_folder(root: Path, session: str) -> Path:
    """The folder of a session's latents below the store's folder `root`."""
    if not _SESSION.fullmatch(session):
        raise ConfigError(f"a session's name is 1..128 letters, digits, _ and -, not {session[:64]!r}")
    return root / LATENTS / session


def latent_path(root: Path, session: str, *, sequence: int) -> Path:
    """The file of chunk `sequence`."""
    return session_folder(root, session) / f"{sequence:0{_DIGITS}d}{_SUFFIX}"


def opening_path(root: Path, session: str, *, block: int) -> Path:
    """The file of a block that a session was given to begin with, which may not have been shown yet."""
    return session_folder(root, session) / f"{_OPENING}{block:04d}{_SUFFIX}"


def opening_files(folder: Path) -> tuple[Path, ...]:
    """The blocks that a session was given, in order."""
    return tuple(sorted(folder.glob(f"{_OPENING}*{_SUFFIX}")))


def thumbnail_path(root: Path, session: str) -> Path:
    """A still of the session, as JPEG; not there before its first chunk, nor for a fork that has none of its own."""
    return session_folder(root, session) / "thumbnail.jpg"


def unfinished_path(path: Path) -> Path:
    """The name of a file while it is written."""
    return path.with_name(f".{path.name}.part")


def stored_sequences(folder: Path) -> tuple[int, ...]:
    """The chunks whose latents are whole, in order; none where there is no such folder."""
    names = (path.name.removesuffix(_SUFFIX) for path in folder.glob(f"*{_SUFFIX}"))
    return tuple(sorted(int(name) for name in names if name.isdecimal()))


def folder_bytes(folder: Path) -> int:
    """Bytes of the files right in a folder; those that vanish meanwhile do not count."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                total += _size(entry)
    except FileNotFoundError:
        return 0
    return total


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
