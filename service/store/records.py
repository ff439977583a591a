"""What the store holds of a session, as values, and what follows from them.

Knows no SQL, no files and no engine. Invariant: the course of a session (the chunks that make its video as it stands)
is derived from its chunk rows alone, in the order of their numbers, so a rewind needs no bookkeeping beyond the rows.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

EndReason = Literal["stopped", "completed", "drained", "failed", "interrupted", "forked"]
"""`interrupted`: the server ended before the session did. `forked`: made by a fork and not begun yet."""
JOURNAL_VERSION = 1
DISCARDED = "discarded"
"""The note of chunks that were taken back before anybody saw them: `from_sequence` and later ones."""
TAKEN_UP = "resume"
"""The reason of a discard: its client had not received it when its session was taken up, and it comes again."""
REWIND = "rewind"
"""The reason of a discard: another turn is taken from there."""
NUMERICS_CHANGED = "numerics_changed"
"""The note of another engine: what comes after it is made with the numerics of `fingerprint`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One session. Times are seconds since 1970, `options` is the JSON object of what it was started with.

    `family` is the id of the session that all of its forks, and theirs, come from: takes are counted in a family.
    """

    id: str
    model: str
    width: int
    height: int
    fps: float
    seed: int
    fingerprint: str
    options: str
    created_at: float
    family: str
    parent: str | None = None
    parent_block: int | None = None
    """The first block that is this session's own."""
    ended_at: float | None = None
    """None while it is live."""
    end_reason: EndReason | None = None
    next_sequence: int = 0
    tenant: str = "local"
    """Whose it is; no part of what is told of a session, for a record may be taken elsewhere."""

    @property
    def live(self) -> bool:
        return self.ended_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRow:
    """One chunk that left the worker, whether or not it is part of the video now."""

    sequence: int
    take: int
    block: int
    attempt: int
    frames: int
    pts: float
    frames_sha256: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a session. `engine`: it is part of the engine's journal; else it is a note beside it.

    `sequence` is the chunk with which it was stored, or for a note the next one.
    """

    sequence: int
    text: str
    engine: bool = True

    @property
    def begins_take(self) -> bool:
        return self.engine and json.loads(self.text).get("type") == "take"


@dataclass(frozen=True, slots=True)
class StoredCourse:
    """How a session goes on: `rows[b]` is the chunk of block b, and the next chunk has the number `next_sequence`.

    `journal` is the engine's journal document with what took effect in these blocks, `events` its events one by one.
    `waiting` are those that took effect in blocks nobody has seen, which were taken back and not made again yet: they
    take effect again at their blocks.
    """

    journal: str
    events: tuple[str, ...]
    rows: tuple[ChunkRow, ...]
    next_sequence: int
    waiting: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        return sum(row.frames for row in self.rows)

    def block_at(self, seconds: float, fps: float) -> int:
        """The block on screen at this second of the video; the next one, where that is past its end."""
        shown = 0
        for block, row in enumerate(self.rows):
            shown += row.frames
            if seconds < shown / fps:
                return block
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and where the next ones begin; None where these are the last."""

    records: tuple[SessionRecord, ...]
    next_cursor: str | None


def course_of(rows: Iterable[ChunkRow]) -> tuple[ChunkRow, ...]:
    """The rows that make the video: a chunk of block b replaces all of blocks b and later."""
    course: list[ChunkRow] = []
    for row in rows:
        del course[row.block :]
        course.append(row)
    return tuple(course)


def aired_of(rows: Iterable[ChunkRow], events: Iterable[StoredEvent]) -> tuple[ChunkRow, ...]:
    """The rows that were shown, in the order in which they were."""
    taken_back: set[int] = set()
    for event in events:
        note = {} if event.engine else json.loads(event.text)
        if note.get("type") == DISCARDED:
            taken_back.update(range(int(note["from_sequence"]), event.sequence))
    return tuple(row for row in rows if row.sequence not in taken_back)


def fingerprints_of(record: SessionRecord, events: Iterable[StoredEvent]) -> tuple[tuple[int, str], ...]:
    """From which chunk on which numerics made the video: (0, fingerprint) first."""
    found = [(0, record.fingerprint)]
    for event in events:
        note = {} if event.engine else json.loads(event.text)
        if note.get("type") == NUMERICS_CHANGED:
            found.append((event.sequence, str(note["fingerprint"])))
    return tuple(found)


def events_before(events: Sequence[str], block: int) -> tuple[int, ...]:
    """The places in `events` of those that hold when `block` is to be made: nothing that was taken back.

    A take that begins with `block` holds; a prompt that took effect with it does not. What a session was given to
    begin with stays.
    """
    kept: list[_Placed] = []
    for place, text in enumerate(events):
        document = json.loads(text)
        event = _Placed(place, str(document["type"]), int(document["block"]))
        if event.kind == "take":
            kept = [other for other in kept if other.block < event.block or other.is_beginning]
        kept.append(event)
    return tuple(event.place for event in kept if event.is_beginning or event.block < block + (event.kind == "take"))


def events_of_course(rows: Iterable[ChunkRow], events: Iterable[StoredEvent], *, block: int) -> tuple[str, ...]:
    """The engine's events that hold when `block` is to be made after these rows.

    What came with a chunk that was taken back does not, whether or not a take says so.
    """
    by_sequence: dict[int, list[str]] = {}
    for event in events:
        if event.engine:
            by_sequence.setdefault(event.sequence, []).append(event.text)
    held: list[str] = []
    length = 0
    for row in rows:
        if row.block < length:
            held = [held[place] for place in events_before(held, row.block)]
        held += by_sequence.pop(row.sequence, [])
        length = row.block + 1
    held += [text for texts in by_sequence.values() for text in texts]
    return tuple(held[place] for place in events_before(held, block))


@dataclass(frozen=True, slots=True)
class _Placed:
    place: int
    kind: str
    block: int

    @property
    def is_beginning(self) -> bool:
        """The prompt that a session began with, and the blocks it was given."""
        return self.place == 0 or self.kind == "opening"


def journal_text(record: SessionRecord, events: Iterable[str]) -> str:
    """The engine's journal document."""
    head = {"version": JOURNAL_VERSION, "model": record.model, "seed": record.seed, "fingerprint": record.fingerprint}
    return json.dumps({**head, "events": [json.loads(event) for event in events]}, ensure_ascii=False)
