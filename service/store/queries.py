"""The SQL of sessions: functions that take a connection and values, and give values back.

Knows the tables; nothing of threads, files or transactions, which belong to whoever calls. Invariants: a chunk and the
events that came with it are written by one call; a session's chunk numbers grow by one, without a gap.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from service.store.failures import ChunkOutOfTurn, SessionUnknown
from service.store.jobs_schema import JOBS
from service.store.records import ChunkRow, EndReason, SessionRecord, StoredEvent
from service.store.schema import CHUNKS, EVENTS, FAMILIES, SESSIONS

_RECORD = tuple(SessionRecord.__dataclass_fields__)
_CHUNK = tuple(ChunkRow.__dataclass_fields__)
Place = tuple[float, str]
"""Where a page of the list begins: created_at and id of the record before it."""


def add_session(connection: Connection, record: SessionRecord, *, unfinished: bool = False) -> None:
    values = {name: getattr(record, name) for name in _RECORD}
    connection.execute(insert(SESSIONS).values(**values, unfinished=unfinished))
    known = select(FAMILIES.c.family).where(FAMILIES.c.family == record.family)
    if connection.execute(known).first() is None:
        connection.execute(insert(FAMILIES).values(family=record.family, next_take=1))


def record_of(connection: Connection, session: str) -> SessionRecord:
    """Raises SessionUnknown."""
    row = connection.execute(select(SESSIONS).where(SESSIONS.c.id == session, ~SESSIONS.c.unfinished)).first()
    if row is None:
        raise SessionUnknown(session)
    return _record(row)


def records_after(
    connection: Connection, place: Place | None, *, limit: int, tenant: str | None = None
) -> tuple[SessionRecord, ...]:
    """The newest first: a tenant's, or everybody's."""
    query = select(SESSIONS).where(~SESSIONS.c.unfinished)
    if tenant is not None:
        query = query.where(SESSIONS.c.tenant == tenant)
    if place is not None:
        created_at, session = place
        older = SESSIONS.c.created_at < created_at
        query = query.where(or_(older, and_(SESSIONS.c.created_at == created_at, SESSIONS.c.id < session)))
    newest_first = query.order_by(SESSIONS.c.created_at.desc(), SESSIONS.c.id.desc()).limit(limit)
    return tuple(_record(row) for row in connection.execute(newest_first))


def all_ids(connection: Connection) -> frozenset[str]:
    """The unfinished ones too."""
    return frozenset(connection.execute(select(SESSIONS.c.id)).scalars())


def ended_sessions(connection: Connection) -> tuple[tuple[str, float], ...]:
    """Ids of the sessions that are not live, and when they ended; the oldest end first."""
    done = SESSIONS.c.ended_at.is_not(None) & ~SESSIONS.c.unfinished
    rows = connection.execute(select(SESSIONS.c.id, SESSIONS.c.ended_at).where(done).order_by(SESSIONS.c.ended_at))
    return tuple((str(row.id), float(row.ended_at)) for row in rows)


def add_chunk(connection: Connection, session: str, *, row: ChunkRow, events: Sequence[str]) -> None:
    """Raises SessionUnknown, or ChunkOutOfTurn if the chunk is not the next one."""
    grown = (
        update(SESSIONS)
        .where(SESSIONS.c.id == session, SESSIONS.c.next_sequence == row.sequence)
        .values(next_sequence=row.sequence + 1, cut_block=None)
    )
    if connection.execute(grown).rowcount != 1:
        expected = record_of(connection, session).next_sequence
        raise ChunkOutOfTurn(session, expected=expected, given=row.sequence)
    add_rows(connection, session, rows=[row])
    add_events(connection, session, events=[StoredEvent(row.sequence, event) for event in events])


def add_rows(connection: Connection, session: str, *, rows: Iterable[ChunkRow]) -> None:
    values = [{"session": session, **{name: getattr(row, name) for name in _CHUNK}} for row in rows]
    if values:
        connection.execute(insert(CHUNKS), values)


def add_events(connection: Connection, session: str, *, events: Iterable[StoredEvent]) -> None:
    newest = select(func.max(EVENTS.c.ordinal)).where(EVENTS.c.session == session)
    first = (connection.execute(newest).scalar() or 0) + 1
    values = [
        {"session": session, "ordinal": ordinal, "sequence": event.sequence, "engine": event.engine}
        | {"document": event.text}
        for ordinal, event in enumerate(events, first)
    ]
    if values:
        connection.execute(insert(EVENTS), values)


def chunks_of(connection: Connection, session: str) -> tuple[ChunkRow, ...]:
    columns = [CHUNKS.c[name] for name in _CHUNK]
    query = select(*columns).where(CHUNKS.c.session == session).order_by(CHUNKS.c.sequence)
    return tuple(ChunkRow(**row._mapping) for row in connection.execute(query))


def events_of(connection: Connection, session: str) -> tuple[StoredEvent, ...]:
    query = select(EVENTS).where(EVENTS.c.session == session).order_by(EVENTS.c.ordinal)
    return tuple(StoredEvent(row.sequence, row.document, row.engine) for row in connection.execute(query))


def cut_of(connection: Connection, session: str) -> int | None:
    """The number of blocks that were not taken back, while no chunk has come since."""
    cut: int | None = connection.execute(select(SESSIONS.c.cut_block).where(SESSIONS.c.id == session)).scalar()
    return cut


def cut_session(connection: Connection, session: str, *, block: int) -> None:
    changed = connection.execute(update(SESSIONS).where(SESSIONS.c.id == session).values(cut_block=block))
    _expect_one(changed.rowcount, session)


def end_session(connection: Connection, session: str, *, reason: EndReason | None, at: float | None) -> None:
    """With None for both: it is live again."""
    ends = update(SESSIONS).where(SESSIONS.c.id == session).values(ended_at=at, end_reason=reason)
    _expect_one(connection.execute(ends).rowcount, session)


def finish_session(connection: Connection, session: str) -> None:
    """It is whole now, and there for everybody."""
    whole = update(SESSIONS).where(SESSIONS.c.id == session).values(unfinished=False)
    _expect_one(connection.execute(whole).rowcount, session)


def end_all(connection: Connection, *, reason: EndReason, at: float) -> None:
    """After a restart: what was live is no more, and what was half made is dropped. Jobs go on in theirs."""
    connection.execute(delete(SESSIONS).where(SESSIONS.c.unfinished))
    jobs = select(JOBS.c.id).where(JOBS.c.completed_at.is_(None))
    live = (SESSIONS.c.ended_at.is_(None), SESSIONS.c.id.not_in(jobs))
    connection.execute(update(SESSIONS).where(*live).values(ended_at=at, end_reason=reason))


def delete_session(connection: Connection, session: str) -> None:
    """And its chunks and events; and what is known of its family, where it was the last of it."""
    family = connection.execute(select(SESSIONS.c.family).where(SESSIONS.c.id == session)).scalar()
    connection.execute(delete(SESSIONS).where(SESSIONS.c.id == session))
    left = connection.execute(select(SESSIONS.c.id).where(SESSIONS.c.family == family).limit(1)).first()
    if left is None:
        connection.execute(delete(FAMILIES).where(FAMILIES.c.family == family))


def take_number(connection: Connection, family: str) -> int:
    """The next number of a take in the family; it is given once."""
    query = select(FAMILIES.c.next_take).where(FAMILIES.c.family == family).with_for_update()
    found: int | None = connection.execute(query).scalar()
    if found is None:
        raise SessionUnknown(family)
    connection.execute(update(FAMILIES).where(FAMILIES.c.family == family).values(next_take=found + 1))
    return found


def _expect_one(count: int, session: str) -> None:
    if count != 1:
        raise SessionUnknown(session)


def _record(row: Row[tuple[object, ...]]) -> SessionRecord:
    return SessionRecord(**{name: row._mapping[name] for name in _RECORD})
