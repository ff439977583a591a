"""A session as one JSON document: its record, what happened, and every chunk; all that a replay needs but the weights.

Knows the records and the queries; nothing of engines or of who reads it. Invariant: what `to_json` writes `from_json`
gives back, and a document that is otherwise is refused with the name of what is wrong.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from service.store import queries
from service.store.database import DATABASE, open_database
from service.store.failures import DocumentInvalid, StoreFailed
from service.store.records import ChunkRow, SessionRecord, StoredEvent, course_of, events_of_course, journal_text

DOCUMENT_VERSION = 1
_TEXT, _COUNT, _NUMBER, _MAYBE = (str,), (int,), (int, float), (NoneType,)
_RECORD_FIELDS: Mapping[str, tuple[type, ...]] = {
    "id": _TEXT,
    "model": _TEXT,
    "width": _COUNT,
    "height": _COUNT,
    "fps": _NUMBER,
    "seed": _COUNT,
    "fingerprint": _TEXT,
    "options": _TEXT,
    "created_at": _NUMBER,
    "family": _TEXT,
    "parent": _TEXT + _MAYBE,
    "parent_block": _COUNT + _MAYBE,
    "ended_at": _NUMBER + _MAYBE,
    "end_reason": _TEXT + _MAYBE,
    "next_sequence": _COUNT,
}
_CHUNK_FIELDS: Mapping[str, tuple[type, ...]] = {
    "sequence": _COUNT,
    "take": _COUNT,
    "block": _COUNT,
    "attempt": _COUNT,
    "frames": _COUNT,
    "pts": _NUMBER,
    "frames_sha256": _TEXT,
}
_EVENT_FIELDS: Mapping[str, tuple[type, ...]] = {"sequence": _COUNT, "engine": (bool,), "event": (dict,)}


@dataclass(frozen=True, slots=True)
class SessionDocument:
    record: SessionRecord
    events: tuple[StoredEvent, ...]
    chunks: tuple[ChunkRow, ...]

    @property
    def course(self) -> tuple[ChunkRow, ...]:
        return course_of(self.chunks)

    def journal(self) -> str:
        """The engine's journal of the video as it stands, which `longtake generate --journal` makes again."""
        return journal_text(self.record, events_of_course(self.chunks, self.events, block=len(self.course)))

    def to_object(self) -> dict[str, object]:
        events = [
            {"sequence": event.sequence, "engine": event.engine, "event": json.loads(event.text)}
            for event in self.events
        ]
        return {
            "version": DOCUMENT_VERSION,
            "session": {name: value for name, value in asdict(self.record).items() if name in _RECORD_FIELDS},
            "journal": json.loads(self.journal()),
            "events": events,
            "chunks": [asdict(chunk) for chunk in self.chunks],
        }

    @staticmethod
    def from_json(text: str) -> "SessionDocument":
        """Raises DocumentInvalid."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DocumentInvalid(f"a session's record is a JSON document: {error}") from error
        if not isinstance(document, dict) or document.get("version") != DOCUMENT_VERSION or "chunks" not in document:
            raise DocumentInvalid(
                f"a session's record is an object of version {DOCUMENT_VERSION} with session, events and chunks, as"
                " /v1/sessions/ID/journal gives it"
            )
        record = SessionRecord(**_fields(document.get("session"), _RECORD_FIELDS, what="session"))
        events = [_fields(event, _EVENT_FIELDS, what="event") for event in _listed(document, "events")]
        chunks = [ChunkRow(**_fields(chunk, _CHUNK_FIELDS, what="chunk")) for chunk in _listed(document, "chunks")]
        stored = [StoredEvent(event["sequence"], json.dumps(event["event"]), event["engine"]) for event in events]
        return SessionDocument(record, tuple(stored), _checked_chunks(chunks))


def read_document(folder: Path, session: str) -> SessionDocument:
    """From a store that a server may be using. Raises SessionUnknown or StoreFailed."""
    with _reading(folder) as connection:
        record = queries.record_of(connection, session)
        return SessionDocument(record, queries.events_of(connection, session), queries.chunks_of(connection, session))


def read_records(folder: Path, *, limit: int) -> tuple[SessionRecord, ...]:
    """The newest records of a store that a server may be using. Raises StoreFailed."""
    with _reading(folder) as connection:
        return queries.records_after(connection, None, limit=limit)


@contextmanager
def _reading(folder: Path) -> Iterator[Connection]:
    """One transaction that only reads."""
    if not (folder / DATABASE).is_file():
        raise StoreFailed(f"there is no store in {folder}")
    engine = open_database(folder, busy_timeout=5.0, read_only=True)
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise StoreFailed(f"the store in {folder} cannot be read: {error.__cause__ or error}") from error
    finally:
        engine.dispose()


def _fields(document: object, fields: Mapping[str, tuple[type, ...]], *, what: str) -> dict[str, Any]:
    """An object with just these fields, each of one of its types: nothing is converted or guessed."""
    if not isinstance(document, dict) or set(document) != set(fields):
        raise DocumentInvalid(f"{what} of a session's record is an object with {', '.join(fields)}")
    for name, kinds in fields.items():
        # `type(...)`, for True is an int to isinstance.
        if type(document[name]) not in kinds:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise DocumentInvalid(f"{what}.{name} of a session's record is {wanted}, not {document[name]!r:.60}")
    return document


def _listed(document: Mapping[str, object], name: str) -> Sequence[object]:
    value = document.get(name)
    if not isinstance(value, list):
        raise DocumentInvalid(f"{name} of a session's record is a list")
    return value


def _checked_chunks(chunks: Sequence[ChunkRow]) -> tuple[ChunkRow, ...]:
    """Raises DocumentInvalid unless each continues or takes back what is before it."""
    length = 0
    for number, chunk in enumerate(chunks):
        if not 0 <= chunk.block <= length or (number and chunk.sequence <= chunks[number - 1].sequence):
            raise DocumentInvalid(f"chunk {chunk.sequence} (block {chunk.block}) of a session's record is out of order")
        length = chunk.block + 1
    return tuple(chunks)
