"""How the chunks of a session are made again: in runs of blocks that follow each other, each from a journal.

Knows the session's document and the engine's journal; nothing of engines at work. Invariants: every chunk is in one
run, in the order of its number; a run begins where a chunk does not follow from the one before it: at a rewind, after
what was taken back, after a fork, and where other numerics took over.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.journal import Journal
from service.store.document import SessionDocument
from service.store.records import ChunkRow, events_before, fingerprints_of, journal_text


@dataclass(frozen=True, slots=True)
class Run:
    """Chunks of blocks that follow each other. `journal` holds what is needed for the first, and what came later."""

    chunks: tuple[ChunkRow, ...]
    journal: Journal
    fingerprint: str

    @property
    def block(self) -> int:
        return self.chunks[0].block


def plan_runs(document: SessionDocument) -> tuple[Run, ...]:
    """Raises RestoreError and what else `Journal.from_json` does."""
    log: list[str] = []
    runs = []
    for chunks, fingerprint in _groups(document):
        numbers = {chunk.sequence for chunk in chunks}
        held = [log[place] for place in events_before(log, chunks[0].block)]
        log = held + [event.text for event in document.events if event.engine and event.sequence in numbers]
        runs.append(Run(tuple(chunks), Journal.from_json(journal_text(document.record, log)), fingerprint))
    return tuple(runs)


def _groups(document: SessionDocument) -> Iterator[tuple[Sequence[ChunkRow], str]]:
    takes = {event.sequence for event in document.events if event.begins_take}
    numerics = dict(fingerprints_of(document.record, document.events))
    group: list[ChunkRow] = []
    fingerprint = document.record.fingerprint
    for chunk in document.chunks:
        follows = bool(group) and chunk.block == group[-1].block + 1
        now = numerics.get(chunk.sequence, fingerprint)
        if group and (not follows or chunk.sequence in takes or now != fingerprint):
            yield group, fingerprint
            group = []
        fingerprint = now
        group.append(chunk)
    if group:
        yield group, fingerprint
