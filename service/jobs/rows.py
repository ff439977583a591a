"""The SQL of jobs: functions that take a connection and values, and give values back.

Knows the tables; nothing of threads, files or the engine. Invariants: a status goes queued, in_progress, and to one
terminal state that is never left; every change raises the job's version; what an attempt writes is written only while
it is the job's present one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select, update

from service.errors import ErrorCode
from service.jobs.failures import BatchUnknown, JobError, JobUnknown, StaleAttempt
from service.jobs.values import Batch, BatchCounts, BatchStatus, Job, JobFailure, JobRequest, JobStatus, Order
from service.store.jobs_schema import BATCHES, IDEMPOTENCY_KEYS, JOB_ATTEMPTS, JOB_FILES, JOBS

OPEN = (JobStatus.QUEUED, JobStatus.IN_PROGRESS)
_SAME = (
    *("id", "tenant", "key_id", "created_at", "started_at", "completed_at", "expires_at", "width", "height", "fps"),
    *("frames", "frames_made", "blocks", "attempt", "losses", "engine_seconds", "batch", "custom_id", "version"),
)


@dataclass(frozen=True, slots=True)
class StoredFile:
    variant: str
    name: str
    bytes: int
    sha256: str
    media_type: str


# Jobs


def add_jobs(connection: Connection, jobs: Iterable[Job], *, openings: Mapping[str, str]) -> None:
    """New rows. `openings`: the names of files that jobs begin with, by job."""
    values = [
        {name: getattr(job, name) for name in _SAME}
        | {"status": job.status, "request": job.request.to_text(), "priority": job.request.priority}
        | {"opening": openings.get(job.id), "expired": 0}
        for job in jobs
    ]
    connection.execute(insert(JOBS), values)


def job_of(connection: Connection, job: str, *, tenant: str | None = None) -> Job:
    """Raises JobUnknown, also where it is another tenant's."""
    row = connection.execute(select(JOBS).where(JOBS.c.id == job)).first()
    if row is None or tenant not in (None, row.tenant):
        raise JobUnknown(job)
    return _job(row)


def jobs_page(
    connection: Connection, tenant: str, *, after: str | None, limit: int, order: Order, batch: str | None
) -> tuple[Job, ...]:
    """Raises JobError (CURSOR_INVALID)."""
    query = select(JOBS).where(JOBS.c.tenant == tenant)
    if batch is not None:
        query = query.where(JOBS.c.batch == batch)
    if after is not None:
        place = connection.execute(
            select(JOBS.c.created_at, JOBS.c.id).where(JOBS.c.id == after, JOBS.c.tenant == tenant)
        ).first()
        query = query.where(_beyond(JOBS.c, place, cursor=after, order=order))
    ordered = query.order_by(*_by_age(JOBS.c, order)).limit(limit)
    return tuple(_job(row) for row in connection.execute(ordered))


def waiting_jobs(connection: Connection, tenant: str | None = None) -> int:
    """Jobs that are queued, of one tenant or of all."""
    query = select(func.count()).select_from(JOBS).where(JOBS.c.status == JobStatus.QUEUED)
    if tenant is not None:
        query = query.where(JOBS.c.tenant == tenant)
    return int(connection.execute(query).scalar_one())


def unfinished_of_key(connection: Connection, key_id: str) -> int:
    """Jobs of a key that are not terminal."""
    query = select(func.count()).select_from(JOBS).where(JOBS.c.key_id == key_id, JOBS.c.status.in_(OPEN))
    return int(connection.execute(query).scalar_one())


def opening_of(connection: Connection, job: str) -> str | None:
    """The name of the file that the job begins with."""
    name: str | None = connection.execute(select(JOBS.c.opening).where(JOBS.c.id == job)).scalar()
    return name


def change(connection: Connection, job: str, *guards: ColumnElement[bool], **values: object) -> bool:
    """Change a row and raise its version. False: it is not there, or a guard does not hold."""
    query = update(JOBS).where(JOBS.c.id == job, *guards).values(version=JOBS.c.version + 1, **values)
    return connection.execute(query).rowcount == 1


def change_of_attempt(connection: Connection, job: str, *, attempt: int, **values: object) -> None:
    """A change that only the present attempt may make. Raises StaleAttempt."""
    present = (JOBS.c.attempt == attempt, JOBS.c.status == JobStatus.IN_PROGRESS)
    if not change(connection, job, *present, **values):
        raise StaleAttempt(job, attempt)


def extend_lease(connection: Connection, job: str, *, attempt: int, until: float) -> None:
    """No change that anybody is told of; nothing, where the attempt is not the present one."""
    present = (JOBS.c.id == job, JOBS.c.attempt == attempt, JOBS.c.status == JobStatus.IN_PROGRESS)
    connection.execute(update(JOBS).where(*present).values(lease_until=until))


def free_all(connection: Connection, *, now: float) -> int:
    """All jobs that are being made wait again; how many."""
    held = tuple(connection.execute(select(JOBS.c.id, JOBS.c.attempt).where(JOBS.c.status == JobStatus.IN_PROGRESS)))
    for job, attempt in held:
        change(connection, job, status=JobStatus.QUEUED, owner=None, lease_until=None)
        close_attempt(connection, job, attempt=attempt, outcome="abandoned", now=now)
    return len(held)


def troubled_since(connection: Connection, job: str) -> float | None:
    found: float | None = connection.execute(select(JOBS.c.troubled_since).where(JOBS.c.id == job)).scalar()
    return found


def delete_job(connection: Connection, job: str) -> None:
    connection.execute(delete(IDEMPOTENCY_KEYS).where(IDEMPOTENCY_KEYS.c.made == job))
    for table in (JOB_FILES, JOB_ATTEMPTS):
        connection.execute(delete(table).where(table.c.job == job))
    connection.execute(delete(JOBS).where(JOBS.c.id == job))


def all_ids(connection: Connection) -> frozenset[str]:
    return frozenset(connection.execute(select(JOBS.c.id)).scalars())


def count_by_status(connection: Connection, batch: str | None = None) -> BatchCounts:
    query = select(JOBS.c.status, func.count()).group_by(JOBS.c.status)
    if batch is not None:
        query = query.where(JOBS.c.batch == batch)
    return BatchCounts(**{str(status): int(count) for status, count in connection.execute(query)})


# Attempts


def next_in_turn(connection: Connection, now: float, *, untroubled: bool, but: Sequence[str]) -> Job | None:
    """The job to take up: one that waits, or one whose holder has not been heard of since its lease ran out.

    None of `but`: those are in these hands already, however long a machine was asleep.
    """
    left = and_(JOBS.c.status == JobStatus.IN_PROGRESS, JOBS.c.lease_until < now)
    waits = and_(JOBS.c.status == JobStatus.QUEUED, or_(JOBS.c.retry_at.is_(None), JOBS.c.retry_at <= now))
    fit = [JOBS.c.id.not_in(but), *([JOBS.c.losses == 0] if untroubled else [])]
    found = [job for job in (_first(connection, left, *fit), _first(connection, waits, *fit)) if job is not None]
    return min(found, key=lambda job: (-job.request.priority, job.created_at, job.id), default=None)


def _first(connection: Connection, *those: ColumnElement[bool]) -> Job | None:
    """The most urgent, and of these the oldest: two steps along an index, where one would sort all that wait."""
    urgent = select(JOBS.c.priority).where(*those).order_by(JOBS.c.priority.desc()).limit(1)
    priority = connection.execute(urgent).scalar()
    if priority is None:
        return None
    query = select(JOBS).where(*those, JOBS.c.priority == priority).order_by(JOBS.c.created_at, JOBS.c.id).limit(1)
    row = connection.execute(query.with_for_update(skip_locked=True)).first()
    return _job(row) if row is not None else None


def add_attempt(connection: Connection, job: Job, *, owner: str, now: float) -> None:
    close_attempt(connection, job.id, attempt=job.attempt - 1, outcome="abandoned", now=now)
    connection.execute(
        insert(JOB_ATTEMPTS).values(
            job=job.id, attempt=job.attempt, owner=owner, started_at=now, first_block=job.blocks, media_bytes=0
        )
    )


def close_attempt(connection: Connection, job: str, *, attempt: int, outcome: str, now: float) -> None:
    """An attempt that has ended already stays as it is."""
    one = (JOB_ATTEMPTS.c.job == job, JOB_ATTEMPTS.c.attempt == attempt, JOB_ATTEMPTS.c.ended_at.is_(None))
    connection.execute(update(JOB_ATTEMPTS).where(*one).values(ended_at=now, outcome=outcome))


def media_of_attempts(connection: Connection, job: str) -> tuple[int, int]:
    """The newest attempt that has stored media, and how many bytes of it count; (0, 0) where none has."""
    one = (JOB_ATTEMPTS.c.job == job, JOB_ATTEMPTS.c.media_bytes > 0)
    query = select(JOB_ATTEMPTS.c.attempt, JOB_ATTEMPTS.c.media_bytes).where(*one)
    row = connection.execute(query.order_by(JOB_ATTEMPTS.c.attempt.desc()).limit(1)).first()
    return (int(row.attempt), int(row.media_bytes)) if row is not None else (0, 0)


def set_media(connection: Connection, job: str, *, attempt: int, media_bytes: int) -> None:
    one = (JOB_ATTEMPTS.c.job == job, JOB_ATTEMPTS.c.attempt == attempt)
    connection.execute(update(JOB_ATTEMPTS).where(*one).values(media_bytes=media_bytes))


def attempts_of(connection: Connection, job: str) -> tuple[Mapping[str, Any], ...]:
    query = select(JOB_ATTEMPTS).where(JOB_ATTEMPTS.c.job == job).order_by(JOB_ATTEMPTS.c.attempt)
    return tuple(MappingProxyType(dict(row._mapping)) for row in connection.execute(query))


# Files


def add_files(connection: Connection, job: str, *, files: Iterable[StoredFile]) -> None:
    connection.execute(delete(JOB_FILES).where(JOB_FILES.c.job == job))
    names = ("variant", "name", "bytes", "sha256", "media_type")
    values = [{"job": job} | {name: getattr(file, name) for name in names} for file in files]
    if values:
        connection.execute(insert(JOB_FILES), values)


def file_of(connection: Connection, job: str, *, variant: str) -> StoredFile | None:
    query = select(JOB_FILES).where(JOB_FILES.c.job == job, JOB_FILES.c.variant == variant)
    row = connection.execute(query).first()
    return StoredFile(row.variant, row.name, row.bytes, row.sha256, row.media_type) if row is not None else None


def expiring(connection: Connection, now: float, *, limit: int) -> tuple[str, ...]:
    """Terminal jobs whose files are kept no longer, the oldest first."""
    over = (JOBS.c.expires_at <= now, JOBS.c.expired == 0)
    query = select(JOBS.c.id).where(*over).order_by(JOBS.c.expires_at).limit(limit)
    return tuple(connection.execute(query).scalars())


def expire(connection: Connection, job: str) -> None:
    """Its files are nobody's any more; the row stays for a while, to say so."""
    connection.execute(delete(JOB_FILES).where(JOB_FILES.c.job == job))
    change(connection, job, expired=1)


def long_expired(connection: Connection, before: float, *, limit: int) -> tuple[str, ...]:
    """Jobs whose files were deleted for so long that the row goes, too."""
    over = (JOBS.c.expires_at <= before, JOBS.c.expired == 1)
    return tuple(connection.execute(select(JOBS.c.id).where(*over).limit(limit)).scalars())


def drop_empty_batches(connection: Connection, before: float) -> None:
    """Batches of that age without a job left."""
    used = select(JOBS.c.batch).where(JOBS.c.batch.is_not(None))
    connection.execute(delete(BATCHES).where(BATCHES.c.created_at < before, BATCHES.c.id.not_in(used)))


# Idempotency


def made_with(connection: Connection, tenant: str, *, key: str) -> tuple[str, str] | None:
    """The fingerprint that came with this key before, and the id of what was made."""
    one = (IDEMPOTENCY_KEYS.c.tenant == tenant, IDEMPOTENCY_KEYS.c.key == key)
    row = connection.execute(select(IDEMPOTENCY_KEYS).where(*one)).first()
    return (row.fingerprint, row.made) if row is not None else None


def remember_key(connection: Connection, tenant: str, *, key: str, fingerprint: str, made: str, now: float) -> None:
    connection.execute(
        insert(IDEMPOTENCY_KEYS).values(tenant=tenant, key=key, fingerprint=fingerprint, made=made, created_at=now)
    )


def forget_keys(connection: Connection, before: float) -> None:
    connection.execute(delete(IDEMPOTENCY_KEYS).where(IDEMPOTENCY_KEYS.c.created_at < before))


# Batches


def add_batch(connection: Connection, batch: str, *, tenant: str, metadata: Mapping[str, str], now: float) -> None:
    said = json.dumps(dict(metadata), ensure_ascii=False)
    connection.execute(insert(BATCHES).values(id=batch, tenant=tenant, created_at=now, metadata=said))


def batch_of(connection: Connection, batch: str, *, tenant: str | None = None) -> Batch:
    """Raises BatchUnknown, also where it is another tenant's."""
    row = connection.execute(select(BATCHES).where(BATCHES.c.id == batch)).first()
    if row is None or tenant not in (None, row.tenant):
        raise BatchUnknown(batch)
    return _batch(row, count_by_status(connection, batch))


def batches_page(
    connection: Connection, tenant: str, *, after: str | None, limit: int, order: Order
) -> tuple[Batch, ...]:
    """Raises JobError (CURSOR_INVALID)."""
    query = select(BATCHES).where(BATCHES.c.tenant == tenant)
    if after is not None:
        place = connection.execute(
            select(BATCHES.c.created_at, BATCHES.c.id).where(BATCHES.c.id == after, BATCHES.c.tenant == tenant)
        ).first()
        query = query.where(_beyond(BATCHES.c, place, cursor=after, order=order))
    rows = connection.execute(query.order_by(*_by_age(BATCHES.c, order)).limit(limit)).all()
    return tuple(_batch(row, count_by_status(connection, row.id)) for row in rows)


def open_jobs_of_batch(connection: Connection, batch: str) -> tuple[str, ...]:
    query = select(JOBS.c.id).where(JOBS.c.batch == batch, JOBS.c.status.in_(OPEN))
    return tuple(connection.execute(query).scalars())


def results_of_batch(connection: Connection, batch: str, *, after: str | None, limit: int) -> tuple[Job, ...]:
    """Terminal jobs in the order in which they ended. Raises JobError (CURSOR_INVALID)."""
    query = select(JOBS).where(JOBS.c.batch == batch, JOBS.c.completed_at.is_not(None))
    if after is not None:
        place = connection.execute(
            select(JOBS.c.completed_at, JOBS.c.id).where(JOBS.c.id == after, JOBS.c.batch == batch)
        ).first()
        if place is None or place.completed_at is None:
            raise _no_place(after)
        same = JOBS.c.completed_at == place.completed_at
        query = query.where(or_(JOBS.c.completed_at > place.completed_at, and_(same, JOBS.c.id > place.id)))
    rows = connection.execute(query.order_by(JOBS.c.completed_at, JOBS.c.id).limit(limit))
    return tuple(_job(row) for row in rows)


def cancel_batch(connection: Connection, batch: str, *, now: float) -> None:
    """Marks it; its jobs are cancelled one by one."""
    one = (BATCHES.c.id == batch, BATCHES.c.completed_at.is_(None))
    connection.execute(update(BATCHES).where(*one).values(cancelled_at=now))


def close_batch(connection: Connection, batch: str, *, now: float) -> None:
    """Where no job of it is open any more."""
    if not open_jobs_of_batch(connection, batch):
        one = (BATCHES.c.id == batch, BATCHES.c.completed_at.is_(None))
        connection.execute(update(BATCHES).where(*one).values(completed_at=now))


def _batch(row: Row[Any], counts: BatchCounts) -> Batch:
    status = BatchStatus.IN_PROGRESS
    if not counts.open:
        status = BatchStatus.CANCELLED if row.cancelled_at is not None else BatchStatus.COMPLETED
    metadata = MappingProxyType(json.loads(row.metadata))
    return Batch(
        id=row.id,
        tenant=row.tenant,
        status=status,
        counts=counts,
        created_at=row.created_at,
        completed_at=None if counts.open else row.completed_at,
        metadata=metadata,
    )


def _job(row: Row[Any]) -> Job:
    values = row._mapping
    return Job(
        **{name: values[name] for name in _SAME},
        status=JobStatus(row.status),
        request=JobRequest.from_text(row.request),
        failure=_failure(row.failure_code, row.failure_message),
        waiting=_failure(row.waiting_code, row.waiting_message),
    )


def _failure(code: str | None, message: str | None) -> JobFailure | None:
    return None if code is None else JobFailure(code, message or "")


def _by_age(columns: Any, order: Order) -> Sequence[ColumnElement[Any]]:
    both = (columns.created_at, columns.id)
    return both if order == "asc" else tuple(column.desc() for column in both)


def _beyond(columns: Any, place: Any, *, cursor: str, order: Order) -> ColumnElement[bool]:
    """What comes behind the row with this age and id."""
    if place is None:
        raise _no_place(cursor)
    age, same = columns.created_at, columns.created_at == place.created_at
    if order == "asc":
        return or_(age > place.created_at, and_(same, columns.id > place.id))
    return or_(age < place.created_at, and_(same, columns.id < place.id))


def _no_place(cursor: str) -> JobError:
    return JobError(ErrorCode.CURSOR_INVALID, f"after is the id of an earlier page's last, not {cursor[:64]!r}")
