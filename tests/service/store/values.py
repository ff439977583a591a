"""Sessions, rows and events for tests of the store.

Knows the records only. Invariant: `fill` writes a file of latents for each chunk before the chunk's row, as the
worker and the API do.
"""

import json
from pathlib import Path

from service.latent_files import latent_path
from service.store.records import ChunkRow, SessionRecord
from service.store.store import SessionStore

FRAMES, FPS = 12, 16.0
LATENT_BYTES = 100


def record(name: str = "a", *, created_at: float = 1000.0, family: str = "") -> SessionRecord:
    return SessionRecord(
        id=name,
        model="demo",
        width=96,
        height=64,
        fps=FPS,
        seed=2**63 - 1,
        fingerprint="f1",
        options='{"prompt": "a"}',
        created_at=created_at,
        family=family or name,
    )


def row(sequence: int, block: int | None = None, *, take: int = 0) -> ChunkRow:
    place = sequence if block is None else block
    sha256 = f"{take:032x}{place:032x}"
    return ChunkRow(
        sequence=sequence,
        take=take,
        block=place,
        attempt=0,
        frames=FRAMES,
        pts=place * FRAMES / FPS,
        frames_sha256=sha256,
    )


def prompt(block: int, text: str = "a") -> str:
    return json.dumps({"type": "prompt", "block": block, "prompts": [{"text": text, "weight": 1.0}]})


def take(block: int, number: int) -> str:
    return json.dumps({"type": "take", "block": block, "take": number})


async def add(store: SessionStore, session: str, chunk: ChunkRow, *, events: tuple[str, ...] = ()) -> None:
    """A chunk's latents, then its row."""
    path = latent_path(store.folder, session, sequence=chunk.sequence)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * LATENT_BYTES)
    await store.append_chunk(session, chunk, events=events)


async def fill(store: SessionStore, session: str, blocks: int, *, created_at: float = 1000.0) -> None:
    """A live session of so many blocks."""
    await store.open_session(record(session, created_at=created_at))
    for block in range(blocks):
        await add(store, session, row(block), events=(prompt(0),) if block == 0 else ())


def files(folder: Path, session: str) -> list[str]:
    return sorted(path.name for path in (folder / "latents" / session).iterdir())
