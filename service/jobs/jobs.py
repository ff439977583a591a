"""Jobs as the service offers them: created, looked at, followed, cancelled, deleted, one by one and in batches.

Knows the book, the files and the runner; nothing of HTTP or the engine. Invariants: a job's row is committed before
`create` answers; the same key gives the same job, however many ask at once; a tenant sees its own only.
"""

import asyncio
import functools
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Self

from sqlalchemy import Connection

from service.access.principal import Principal
from service.access.quota import check_new_jobs
from service.config import ServiceConfig
from service.jobs import rows
from service.jobs.bells import rung
from service.jobs.book import JobBook, OnTerminal, nothing_to_tell
from service.jobs.checks import checked
from service.jobs.failures import DiskFull, IdempotencyConflict, MediaExpired, NotReady, QueueFull
from service.jobs.files import JobFiles
from service.jobs.runner import QUEUE, Runner, Workers
from service.jobs.sweeper import keep_swept
from service.jobs.values import (
    NO_METADATA,
    Batch,
    BatchItem,
    Idempotency,
    Job,
    JobEvent,
    JobPage,
    JobRequest,
    JobStatus,
    MediaFile,
    Order,
    Variant,
)
from service.store.store import SessionStore

_WATCH_SECONDS = 1.0
"""How soon a change is noticed that another server made."""


class Jobs:
    """A JobService (service/jobs/desk.py), and the runner that makes its jobs. `run` it, and `stop` it."""

    def __init__(self, book: JobBook, files: JobFiles, *, runner: Runner, config: ServiceConfig) -> None:
        self.book = book
        self.files = files
        self.runner = runner
        self._config = config
        self._store = book.store

    @classmethod
    def over(
        cls,
        store: SessionStore,
        config: ServiceConfig,
        *,
        workers: Workers,
        on_terminal: OnTerminal = nothing_to_tell,
        woken: Callable[[], None] = lambda: None,
        counted: Callable[[Job], None] = lambda _job: None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Jobs of a store, made by the workers.

        Args:
            on_terminal: is part of the commit that ends a job; `woken` and `counted` come after it.
        """
        book = JobBook(store=store, config=config, on_terminal=on_terminal, woken=woken, counted=counted, clock=clock)
        files = JobFiles(store.folder)
        runner = Runner(book, files, workers=workers, config=config, owner=uuid.uuid4().hex)
        return cls(book, files, runner=runner, config=config)

    # One job

    async def create(
        self,
        principal: Principal,
        request: JobRequest,
        *,
        opening: bytes | None = None,
        idempotency: Idempotency | None = None,
    ) -> Job:
        job = self._new(principal, request)
        openings = await self._keep_openings({job.id: opening})

        def work(connection: Connection) -> str:
            return self._add(connection, [job], openings=openings, principal=principal, idempotency=idempotency)

        made = await self._created(work, jobs=[job], openings=openings)
        return job if made == job.id else await self.get(principal, made)

    async def get(self, principal: Principal, job: str) -> Job:
        return await self._store.read(functools.partial(rows.job_of, job=job, tenant=principal.tenant))

    async def list(
        self,
        principal: Principal,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
        batch: str | None = None,
    ) -> JobPage:
        def work(connection: Connection) -> tuple[Job, ...]:
            return rows.jobs_page(connection, principal.tenant, after=after, limit=limit + 1, order=order, batch=batch)

        return _page(await self._store.read(work), limit)

    async def cancel(self, principal: Principal, job: str) -> Job:
        await self.get(principal, job)
        cancelled = await self._cancel_all([job])
        return cancelled[0]

    async def delete(self, principal: Principal, job: str) -> Job:
        found = await self.cancel(principal, job)
        await self.remove(job)
        return found

    async def watch(self, principal: Principal, job: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        with self.book.bells.listening(job) as bell:
            while True:
                bell.clear()
                found = await self.get(principal, job)
                if found.version > after:
                    after = found.version
                    yield JobEvent(after, found.status, found)
                if found.status.terminal:
                    return
                await rung(bell, _WATCH_SECONDS)

    async def media(self, principal: Principal, job: str, *, variant: Variant = "video") -> MediaFile:
        found = await self.get(principal, job)
        if found.status is not JobStatus.COMPLETED:
            raise NotReady(f"video {job} is {found.status}; its files are there once it is completed")
        stored = await self._store.read(lambda connection: rows.file_of(connection, job, variant=variant))
        if stored is None:
            raise MediaExpired(job)
        path = self.files.folder(job) / stored.name
        return MediaFile(path, stored.sha256, stored.bytes, stored.media_type)

    async def opening(self, principal: Principal, job: str) -> bytes | None:
        await self.get(principal, job)
        name = await self._store.read(lambda connection: rows.opening_of(connection, job))
        if name is None:
            return None
        try:
            return await asyncio.to_thread(self.files.read, job, name)
        except FileNotFoundError as error:
            raise MediaExpired(job) from error

    # Batches

    async def create_batch(
        self,
        principal: Principal,
        items: tuple[BatchItem, ...],
        *,
        metadata: Mapping[str, str] = NO_METADATA,
        idempotency: Idempotency | None = None,
    ) -> Batch:
        batch, now = f"batch_{uuid.uuid4().hex}", self.book.clock()
        jobs = [
            replace(self._new(principal, item.request), batch=batch, custom_id=item.custom_id, created_at=now)
            for item in items
        ]
        given = {job.id: item.opening for job, item in zip(jobs, items, strict=True)}
        openings = await self._keep_openings(given)

        def work(connection: Connection) -> str:
            known = self._known(connection, principal, idempotency)
            if known is not None:
                return known
            rows.add_batch(connection, batch, tenant=principal.tenant, metadata=metadata, now=now)
            self._add(connection, jobs, openings=openings, principal=principal, idempotency=None)
            self._remember(connection, principal, idempotency, made=batch)
            return batch

        made = await self._created(work, jobs=jobs, openings=openings)
        return await self.get_batch(principal, made)

    async def get_batch(self, principal: Principal, batch: str) -> Batch:
        return await self._store.read(functools.partial(rows.batch_of, batch=batch, tenant=principal.tenant))

    async def list_batches(
        self, principal: Principal, *, after: str | None = None, limit: int = 20, order: Order = "desc"
    ) -> tuple[Batch, ...]:
        def work(connection: Connection) -> tuple[Batch, ...]:
            return rows.batches_page(connection, principal.tenant, after=after, limit=limit, order=order)

        return await self._store.read(work)

    async def cancel_batch(self, principal: Principal, batch: str) -> Batch:
        await self.get_batch(principal, batch)

        def work(connection: Connection) -> tuple[str, ...]:
            rows.cancel_batch(connection, batch, now=self.book.clock())
            return rows.open_jobs_of_batch(connection, batch)

        await self._cancel_all(await self._store.write(work))
        return await self.get_batch(principal, batch)

    async def wait_batch(self, principal: Principal, batch: str, *, timeout: float) -> Batch:
        until = time.monotonic() + timeout
        with self.book.bells.listening(batch) as bell:
            while True:
                bell.clear()
                found = await self.get_batch(principal, batch)
                left = until - time.monotonic()
                if not found.counts.open or left <= 0:
                    return found
                await rung(bell, min(left, _WATCH_SECONDS))

    async def results(self, principal: Principal, batch: str, *, after: str | None = None, limit: int = 100) -> JobPage:
        def work(connection: Connection) -> tuple[Job, ...]:
            rows.batch_of(connection, batch, tenant=principal.tenant)
            return rows.results_of_batch(connection, batch, after=after, limit=limit + 1)

        return _page(await self._store.read(work), limit)

    # The service around it

    async def run(self) -> None:
        """Takes jobs up until `stop`; first those that a server before this one has left."""
        sweeping = asyncio.create_task(
            keep_swept(self.book, self.files, interval=self._config.store_sweep_interval), name="jobs-sweep"
        )
        try:
            await self.runner.run(alone=self._config.store_url is None)
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)

    async def stop(self) -> None:
        await self.runner.stop()

    async def remove(self, job: str) -> None:
        """A terminal job's row, session and files."""
        await self._store.write(lambda connection: rows.delete_job(connection, job))
        await asyncio.to_thread(self.files.remove, job)
        await self.book.drop_session(job)
        self.book.bells.ring(job)

    def _new(self, principal: Principal, request: JobRequest) -> Job:
        return Job(
            id=f"video_{uuid.uuid4().hex}",
            tenant=principal.tenant,
            key_id=principal.key_id,
            status=JobStatus.QUEUED,
            request=checked(request, self._config),
            created_at=self.book.clock(),
            version=1,
        )

    async def _keep_openings(self, openings: Mapping[str, bytes | None]) -> dict[str, str]:
        """Files before rows: a row never names what is not there. Raises DiskFull, OSError."""
        free = await asyncio.to_thread(self.files.free_bytes)
        if free < self._config.disk_floor_bytes:
            raise DiskFull(free, floor=self._config.disk_floor_bytes)
        given = {job: data for job, data in openings.items() if data is not None}
        return {job: await asyncio.to_thread(self.files.keep_opening, job, data) for job, data in given.items()}

    async def _created(
        self, work: Callable[[Connection], str], *, jobs: Sequence[Job], openings: Mapping[str, str]
    ) -> str:
        """What was made, now or before; files of what was not are removed."""
        made = ""
        try:
            made = await self._store.write(work)
        finally:
            if made not in {jobs[0].id, jobs[0].batch}:
                for job in openings:
                    await asyncio.to_thread(self.files.remove, job)
        self.book.bells.ring(QUEUE)
        return made

    def _add(
        self,
        connection: Connection,
        jobs: Sequence[Job],
        *,
        openings: Mapping[str, str],
        principal: Principal,
        idempotency: Idempotency | None,
    ) -> str:
        """Part of a transaction. Raises QueueFull, IdempotencyConflict."""
        known = self._known(connection, principal, idempotency)
        if known is not None:
            return known
        check_new_jobs(
            connection,
            principal,
            unfinished=lambda key: rows.unfinished_of_key(connection, key),
            more=len(jobs),
            now=self.book.clock(),
        )
        if rows.waiting_jobs(connection) + len(jobs) > self._config.max_queued_jobs:
            raise QueueFull(self._config.max_queued_jobs)
        rows.add_jobs(connection, jobs, openings=openings)
        self._remember(connection, principal, idempotency, made=jobs[0].id)
        return jobs[0].id

    def _known(self, connection: Connection, principal: Principal, idempotency: Idempotency | None) -> str | None:
        if idempotency is None:
            return None
        found = rows.made_with(connection, principal.tenant, key=idempotency.key)
        if found is None:
            return None
        fingerprint, made = found
        if fingerprint != idempotency.fingerprint:
            raise IdempotencyConflict()
        return made

    def _remember(
        self, connection: Connection, principal: Principal, idempotency: Idempotency | None, *, made: str
    ) -> None:
        if idempotency is not None:
            rows.remember_key(
                connection,
                principal.tenant,
                key=idempotency.key,
                fingerprint=idempotency.fingerprint,
                made=made,
                now=self.book.clock(),
            )

    async def _cancel_all(self, jobs: Sequence[str]) -> Sequence[Job]:
        cancelled = await self.book.cancel(jobs)
        for job in jobs:
            self.runner.let_go(job)
        for job in set(jobs) - set(self.runner.running):
            await asyncio.to_thread(self.files.remove_made, job)
        return cancelled


def _page(found: Sequence[Job], limit: int) -> JobPage:
    return JobPage(tuple(found[:limit]), len(found) > limit)
