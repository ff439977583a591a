"""The book of jobs: each step of a job's life as one transaction, and the news of it.

Knows the store and the rows; nothing of the engine, files or the web. Invariants: a block is in the session and in
the job by one commit, or in neither; only the present attempt of a job writes; whoever ends a job tells `on_terminal`
inside that commit; who waits hears of a change after it.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from service.access.quota import day_of
from service.config import ServiceConfig
from service.errors import ErrorCode
from service.jobs import rows
from service.jobs.bells import Bells
from service.jobs.failures import JobUnknown
from service.jobs.rows import StoredFile
from service.jobs.values import Job, JobFailure, JobStatus
from service.store import queries
from service.store.failures import SessionLive, SessionUnknown
from service.store.jobs_schema import JOBS
from service.store.keys import charge_key
from service.store.records import ChunkRow, EndReason, SessionRecord, StoredEvent, fingerprints_of
from service.store.store import SessionStore

OnTerminal = Callable[[Connection, Job], None]
_LONGEST_DELAY = 60.0


def nothing_to_tell(_connection: Connection, _job: Job) -> None:
    """Where nobody wants to know of ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block as an attempt stores it; `media_bytes` is the length of the attempt's fragments with it."""

    row: ChunkRow
    events: tuple[str, ...]
    media_bytes: int
    engine_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobBook:
    """`clock` gives seconds since 1970."""

    store: SessionStore
    config: ServiceConfig
    bells: Bells = field(default_factory=Bells)
    on_terminal: OnTerminal = nothing_to_tell
    woken: Callable[[], None] = lambda: None
    """Called after the commit that has made jobs terminal."""
    counted: Callable[[Job], None] = lambda _job: None
    """Called once for each of them, after that commit."""
    clock: Callable[[], float] = time.time

    # Claims

    async def claim(self, owner: str, *, untroubled: bool, but: Sequence[str] = ()) -> Job | None:
        """Take up the next job, if there is one, and none of `but`.

        Args:
            untroubled: none that a worker was lost with before.
        """

        def work(connection: Connection) -> Job | None:
            now = self.clock()
            job = rows.next_in_turn(connection, now, untroubled=untroubled, but=but)
            if job is None:
                return None
            rows.change(
                connection,
                job.id,
                status=JobStatus.IN_PROGRESS,
                attempt=job.attempt + 1,
                owner=owner,
                lease_until=now + self.config.job_lease,
                started_at=now if job.started_at is None else job.started_at,
                waiting_code=None,
                waiting_message=None,
                retry_at=None,
            )
            claimed = rows.job_of(connection, job.id)
            rows.add_attempt(connection, claimed, owner=owner, now=now)
            return claimed

        job = await self.store.write(work)
        if job is not None:
            self._ring(job)
        return job

    async def renew(self, jobs: Sequence[Job]) -> None:
        """They are still being made. A sequence, for it is read in the thread that writes."""
        until = self.clock() + self.config.job_lease

        def work(connection: Connection) -> None:
            for job in jobs:
                rows.extend_lease(connection, job.id, attempt=job.attempt, until=until)

        await self.store.write(work)

    async def recover(self) -> int:
        """Jobs that a server had which is no more wait again; how many. Only where no other shares the store."""

        def work(connection: Connection) -> int:
            return rows.free_all(connection, now=self.clock())

        return await self.store.write(work)

    async def find(self, job: str) -> Job | None:
        """As it stands; None where it was deleted."""
        try:
            return await self.store.read(lambda connection: rows.job_of(connection, job))
        except JobUnknown:
            return None

    # An attempt

    async def media_before(self, job: Job) -> tuple[int, int]:
        """The attempt whose fragments count, and how many bytes of them."""
        return await self.store.read(lambda connection: rows.media_of_attempts(connection, job.id))

    async def opening_of(self, job: Job) -> str | None:
        """The name of the file that it begins with."""
        return await self.store.read(lambda connection: rows.opening_of(connection, job.id))

    async def fingerprint_of(self, job: Job) -> str | None:
        """The numerics of what was made last; None where nothing was."""

        def work(connection: Connection) -> str | None:
            if not _has_session(connection, job.id):
                return None
            record = queries.record_of(connection, job.id)
            return fingerprints_of(record, queries.events_of(connection, job.id))[-1][1]

        return await self.store.read(work)

    async def begin(self, job: Job, record: SessionRecord, *, frames: int, notes: tuple[str, ...]) -> Job:
        """The engine has it: for the first time, which opens its session, or again. Raises StaleAttempt."""

        def work(connection: Connection) -> Job:
            rows.change_of_attempt(
                connection,
                job.id,
                attempt=job.attempt,
                width=record.width,
                height=record.height,
                fps=record.fps,
                frames=frames,
            )
            if not _has_session(connection, job.id):
                queries.add_session(connection, record)
                said = [StoredEvent(0, note, engine=False) for note in job.request.notes]
                queries.add_events(connection, job.id, events=said)
            sequence = queries.record_of(connection, job.id).next_sequence
            queries.add_events(connection, job.id, events=[StoredEvent(sequence, note, engine=False) for note in notes])
            return rows.job_of(connection, job.id)

        return self._rung(await self.store.write(work))

    async def keep_media(self, job: Job, media_bytes: int) -> None:
        """The attempt's own file has what counts of the earlier ones'. Raises StaleAttempt."""

        def work(connection: Connection) -> None:
            rows.change_of_attempt(connection, job.id, attempt=job.attempt)
            rows.set_media(connection, job.id, attempt=job.attempt, media_bytes=media_bytes)

        await self.store.write(work)

    async def add_block(self, job: Job, block: Block) -> Job:
        """The next block. Raises StaleAttempt, or ChunkOutOfTurn where it is not the next."""

        def work(connection: Connection) -> Job:
            now, row = self.clock(), block.row
            rows.change_of_attempt(
                connection,
                job.id,
                attempt=job.attempt,
                frames_made=JOBS.c.frames_made + row.frames,
                blocks=row.block + 1,
                engine_seconds=JOBS.c.engine_seconds + block.engine_seconds,
                troubled_since=None,
                lease_until=now + self.config.job_lease,
            )
            rows.set_media(connection, job.id, attempt=job.attempt, media_bytes=block.media_bytes)
            queries.add_chunk(connection, job.id, row=row, events=block.events)
            if job.key_id is not None:
                charge_key(connection, job.key_id, day=day_of(now), seconds=block.engine_seconds)
            return rows.job_of(connection, job.id)

        return self._rung(await self.store.write(work))

    async def note(self, job: Job, text: str) -> None:
        """A JSON object with a `type`, for the record of its session. Raises StaleAttempt."""

        def work(connection: Connection) -> None:
            rows.change_of_attempt(connection, job.id, attempt=job.attempt)
            sequence = queries.record_of(connection, job.id).next_sequence
            queries.add_events(connection, job.id, events=[StoredEvent(sequence, text, engine=False)])

        await self.store.write(work)

    # Ends

    async def complete(self, job: Job, files: tuple[StoredFile, ...]) -> Job:
        """It is made. Raises StaleAttempt."""

        def work(connection: Connection) -> Job:
            rows.change_of_attempt(connection, job.id, attempt=job.attempt)
            rows.add_files(connection, job.id, files=files)
            return self.end(connection, job.id, status=JobStatus.COMPLETED, outcome="completed")

        return self._ended(await self.store.write(work))

    async def fail(self, job: Job, failure: JobFailure) -> Job:
        """It will not be made. Raises StaleAttempt."""

        def work(connection: Connection) -> Job:
            rows.change_of_attempt(connection, job.id, attempt=job.attempt)
            return self.end(connection, job.id, status=JobStatus.FAILED, outcome=failure.code, failure=failure)

        return self._ended(await self.store.write(work))

    async def lose(self, job: Job, message: str) -> Job:
        """Its worker was lost: it waits again, or is set aside. Raises StaleAttempt."""

        def work(connection: Connection) -> Job:
            losses = job.losses + 1
            if losses >= self.config.job_losses:
                said = f"{losses} workers were lost while they made it, the last because {message}"
                rows.change_of_attempt(connection, job.id, attempt=job.attempt, losses=losses)
                failure = JobFailure(ErrorCode.JOB_SET_ASIDE, said)
                return self.end(connection, job.id, status=JobStatus.FAILED, outcome="lost", failure=failure)
            waiting = JobFailure(ErrorCode.WORKER_DIED, message)
            self._back(connection, job, outcome="lost", waiting=waiting, losses=losses)
            return rows.job_of(connection, job.id)

        lost = await self.store.write(work)
        return self._ended(lost) if lost.status.terminal else self._rung(lost)

    async def release(self, job: Job, *, trouble: JobFailure | None = None) -> Job:
        """It waits again, at once or, with `trouble` that is not its own, after a while. Raises StaleAttempt."""

        def work(connection: Connection) -> Job:
            if trouble is None:
                self._back(connection, job, outcome="released", waiting=None)
                return rows.job_of(connection, job.id)
            now = self.clock()
            since = rows.troubled_since(connection, job.id)
            lasted = 0.0 if since is None else max(0.0, now - since)
            if lasted > self.config.job_trouble_seconds:
                rows.change_of_attempt(connection, job.id, attempt=job.attempt)
                return self.end(connection, job.id, status=JobStatus.FAILED, outcome=trouble.code, failure=trouble)
            delay = min(max(lasted, self.config.job_retry_delay), _LONGEST_DELAY)
            since = now if since is None else since
            again = {"retry_at": now + delay, "troubled_since": since}
            self._back(connection, job, outcome=trouble.code, waiting=trouble, **again)
            return rows.job_of(connection, job.id)

        released = await self.store.write(work)
        return self._ended(released) if released.status.terminal else self._rung(released)

    def _back(
        self, connection: Connection, job: Job, *, outcome: str, waiting: JobFailure | None, **values: object
    ) -> None:
        rows.change_of_attempt(
            connection,
            job.id,
            attempt=job.attempt,
            status=JobStatus.QUEUED,
            owner=None,
            lease_until=None,
            waiting_code=None if waiting is None else waiting.code,
            waiting_message=None if waiting is None else waiting.message,
            **values,
        )
        rows.close_attempt(connection, job.id, attempt=job.attempt, outcome=outcome, now=self.clock())

    def end(
        self, connection: Connection, job: str, *, status: JobStatus, outcome: str, failure: JobFailure | None = None
    ) -> Job:
        """Part of a transaction: the job's last change, and its session's and batch's."""
        now = self.clock()
        ended = rows.change(
            connection,
            job,
            JOBS.c.completed_at.is_(None),
            status=status,
            completed_at=now,
            expires_at=now + self.config.job_retain_hours * 3600,
            failure_code=None if failure is None else failure.code,
            failure_message=None if failure is None else failure.message,
            waiting_code=None,
            waiting_message=None,
            owner=None,
            lease_until=None,
            retry_at=None,
        )
        found = rows.job_of(connection, job)
        if not ended:
            return found
        rows.close_attempt(connection, job, attempt=found.attempt, outcome=outcome, now=now)
        if _has_session(connection, job):
            queries.end_session(connection, job, reason=_END_REASONS[status], at=now)
        if found.batch is not None:
            rows.close_batch(connection, found.batch, now=now)
        self.on_terminal(connection, found)
        return found

    async def cancel(self, jobs: Sequence[str]) -> list[Job]:
        """They are made no further, in one commit; those that are terminal stay as they are."""

        def work(connection: Connection) -> list[tuple[Job, bool]]:
            open_before = [not rows.job_of(connection, job).status.terminal for job in jobs]
            ended = [self.end(connection, job, status=JobStatus.CANCELLED, outcome="cancelled") for job in jobs]
            return list(zip(ended, open_before, strict=True))

        return [self._ended(job) if now else job for job, now in await self.store.write(work)]

    async def drop_session(self, job: str) -> None:
        """The session of a job that is deleted, unless somebody goes on with it."""
        with contextlib.suppress(SessionUnknown, SessionLive):
            await self.store.delete(job)

    # News

    def _ring(self, job: Job) -> None:
        self.bells.ring(job.id, *([job.batch] if job.batch else []))

    def _rung(self, job: Job) -> Job:
        self._ring(job)
        return job

    def _ended(self, job: Job) -> Job:
        self._ring(job)
        self.counted(job)
        self.woken()
        return job


_END_REASONS: dict[JobStatus, EndReason] = {
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "stopped",
}


def _has_session(connection: Connection, job: str) -> bool:
    try:
        queries.record_of(connection, job)
    except SessionUnknown:
        return False
    return True
