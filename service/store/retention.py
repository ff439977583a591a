"""How long sessions are kept, and how much room they may take.

Knows folders of latents, ids and times; nothing of SQL. Invariants: only sessions that have ended are chosen, the one
that ended first before the others; a folder that belongs to no session is rubbish, and goes.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from service.latent_files import LATENTS, folder_bytes, session_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """`hours` after its end a session is deleted; sooner, where all latents together are more than `max_bytes`."""

    hours: float
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep deleted, and the bytes of latents that are left."""

    sessions: tuple[str, ...]
    orphans: tuple[str, ...]
    bytes_left: int


def expired(ended: Iterable[tuple[str, float]], *, sizes: dict[str, int], now: float, keep: Retention) -> list[str]:
    """Which of the ended sessions (id and end, the oldest end first) go. `sizes`: of every folder of latents.

    Files that forks share count once for each, so that no more than the allowed room is ever used.
    """
    total = sum(sizes.values())
    gone = []
    for session, ended_at in ended:
        if now - ended_at < keep.hours * 3600 and total <= keep.max_bytes:
            continue
        gone.append(session)
        total -= sizes.get(session, 0)
    return gone


def latent_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each session's latents, by name."""
    root = folder / LATENTS
    if not root.is_dir():
        return {}
    return {entry.name: folder_bytes(entry) for entry in root.iterdir() if entry.is_dir()}


def remove_latents(folder: Path, session: str) -> None:
    """What cannot be removed now is an orphan, for the next sweep."""
    shutil.rmtree(session_folder(folder, session), ignore_errors=True)


def remove_orphans(folder: Path, names: Iterable[str]) -> None:
    """Folders by name, whatever they are called."""
    for name in names:
        shutil.rmtree(folder / LATENTS / name, ignore_errors=True)
