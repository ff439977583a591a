"""The history of a session, cut at any block as things stood at any time, and its copy into a fork.

Knows the queries and the names of latent files; nothing of threads or of who asks. Invariants: a history holds nothing
that was taken back; a fork's chunks are numbered anew from 0, block b being chunk b, and its latents are links to the
same files, so that either session can be deleted.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from service.latent_files import latent_path, opening_files, session_folder
from service.store import queries
from service.store.failures import ForkPointInvalid, LatentsMissing, StoreFailed
from service.store.records import (
    REWIND,
    ChunkRow,
    SessionRecord,
    StoredCourse,
    StoredEvent,
    course_of,
    events_of_course,
    journal_text,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoursePoint:
    """Where to cut a history: before `block`, None for its end; as it stood when chunk `before_sequence` was to come.

    Chunk N is made anew by `CoursePoint(block=the block of N, before_sequence=N)`.
    """

    block: int | None = None
    before_sequence: int | None = None


NOW = CoursePoint()


def read_course(connection: Connection, session: str, *, point: CoursePoint = NOW) -> StoredCourse:
    """Raises SessionUnknown, or ForkPointInvalid if there is no such block."""
    record = queries.record_of(connection, session)
    past = point.before_sequence
    rows = [row for row in queries.chunks_of(connection, session) if past is None or row.sequence < past]
    course = course_of(rows)
    block = point.block if point.block is not None else _end(connection, session, course=course, past=past)
    if not 0 <= block <= len(course):
        raise ForkPointInvalid(f"a block of session {session} to go on from is 0..{len(course)}, not {block}")
    events = [event for event in queries.events_of(connection, session) if _counts(event, point)]
    held = events_of_course(rows, events, block=block)
    waiting: tuple[str, ...] = ()
    if point == NOW and not _rewound(events, record.next_sequence):
        waiting = events_of_course(rows, events, block=len(course))[len(held) :]
    return StoredCourse(journal_text(record, held), held, course[:block], record.next_sequence, waiting)


def _rewound(events: Iterable[StoredEvent], next_sequence: int) -> bool:
    """A rewind has come since the last chunk: what took effect after its block is dropped."""
    notes = (event for event in events if event.sequence == next_sequence and not event.engine)
    return any(json.loads(note.text).get("reason") == REWIND for note in notes)


def _counts(event: StoredEvent, point: CoursePoint) -> bool:
    """It took effect before the point; or it is the take that begins there, if the chunk to be made anew began one."""
    if point.before_sequence is None or event.sequence < point.before_sequence:
        return True
    document = json.loads(event.text)
    begins = document["type"] == "take" and document["block"] == point.block
    return begins and event.sequence == point.before_sequence


def _end(connection: Connection, session: str, *, course: tuple[ChunkRow, ...], past: int | None) -> int:
    cut = queries.cut_of(connection, session) if past is None else None
    return len(course) if cut is None else min(cut, len(course))


def copy_history(connection: Connection, record: SessionRecord, *, course: StoredCourse, take: int | None) -> None:
    """Fill the unfinished session `record` with a course. `take`: a new one begins after it."""
    rows = [replace(row, sequence=row.block) for row in course.rows]
    queries.add_rows(connection, record.id, rows=rows)
    texts = list(course.events)
    if take is not None:
        texts.append(json.dumps({"type": "take", "block": len(rows), "take": take}))
    events = [StoredEvent(int(json.loads(text)["block"]), text) for text in texts]
    queries.add_events(connection, record.id, events=events)
    queries.finish_session(connection, record.id)


def link_latents(folder: Path, source: str, *, target: str, rows: Iterable[ChunkRow]) -> None:
    """Give the latents of a course, and of blocks that were given, to the session `target`.

    Raises LatentsMissing or StoreFailed.
    """
    links = {
        latent_path(folder, source, sequence=row.sequence): latent_path(folder, target, sequence=row.block)
        for row in rows
    }
    own = session_folder(folder, target)
    links |= {path: own / path.name for path in opening_files(session_folder(folder, source))}
    try:
        own.mkdir(parents=True, exist_ok=True)
        for theirs, ours in links.items():
            os.link(theirs, ours)
    except FileNotFoundError as error:
        raise LatentsMissing(f"the latents of session {source} are not all there: {error.filename}") from error
    except OSError as error:
        raise StoreFailed(f"latents of session {source} cannot be linked: {error}") from error
