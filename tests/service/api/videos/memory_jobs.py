"""A queue of jobs in memory, for tests of what is said of them over REST: nothing is made unless a test says so.

Invariant: it answers as service/jobs/desk.py says, whatever a test does to its jobs.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from service.access.principal import Principal
from service.errors import ErrorCode
from service.jobs.failures import BatchUnknown, IdempotencyConflict, JobError, JobUnknown, MediaExpired, NotReady
from service.jobs.values import (
    NO_METADATA,
    Batch,
    BatchCounts,
    BatchItem,
    BatchStatus,
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


class MemoryJobs:
    """`finish`, `fail` and `advance` are what a runner would do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[str, Job] = {}
        self.openings: dict[str, bytes | None] = {}
        self.batches: dict[str, Batch] = {}
        self.ended: list[str] = []
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._changed = asyncio.Condition()
        self.now = 1_000_000.0
        self.watched = 0
        """How many wait for a change."""

    # What a test does

    async def advance(self, job: str, frames: int) -> None:
        await self._change(job, status=JobStatus.IN_PROGRESS, frames=48, frames_made=frames, started_at=self.now)

    async def finish(self, job: str, video: bytes = b"video") -> None:
        (self.folder / f"{job}.mp4").write_bytes(video)
        (self.folder / f"{job}.jpg").write_bytes(b"picture")
        await self._change(
            job, status=JobStatus.COMPLETED, completed_at=self.now, expires_at=self.now + 9, started_at=self.now
        )

    async def change(self, job: str, **changes: object) -> None:
        await self._change(job, **changes)

    async def cancel_all(self) -> None:
        for job in [job.id for job in self.jobs.values() if not job.status.terminal]:
            await self._change(job, status=JobStatus.CANCELLED)

    async def _change(self, job: str, **changes: object) -> None:
        self.now += 1
        before = self.jobs[job]
        self.jobs[job] = replace(before, version=before.version + 1, **changes)  # type: ignore[arg-type]
        if self.jobs[job].status.terminal and job not in self.ended:
            self.ended.append(job)
        async with self._changed:
            self._changed.notify_all()

    async def _wait(self) -> None:
        self.watched += 1
        try:
            await self._changed.wait()
        finally:
            self.watched -= 1

    # The queue

    async def create(
        self,
        principal: Principal,
        request: JobRequest,
        *,
        opening: bytes | None = None,
        idempotency: Idempotency | None = None,
    ) -> Job:
        known = self._known(principal, idempotency)
        if known is not None:
            return self.jobs[known]
        job = self._add(principal, request, opening=opening)
        self._remember(principal, idempotency, job.id)
        return job

    def _add(
        self, principal: Principal, request: JobRequest, *, opening: bytes | None, batch: Batch | None = None
    ) -> Job:
        self.now += 1
        name = f"video_{len(self.jobs) + 1}"
        filled = replace(request, model=request.model or "demo", seed=5 if request.seed is None else request.seed)
        job = Job(
            id=name,
            tenant=principal.tenant,
            status=JobStatus.QUEUED,
            request=filled,
            created_at=self.now,
            batch=batch.id if batch else None,
            version=1,
        )
        self.jobs[name], self.openings[name] = job, opening
        return job

    def _known(self, principal: Principal, idempotency: Idempotency | None) -> str | None:
        found = self._keys.get((principal.tenant, idempotency.key)) if idempotency else None
        if found is None or idempotency is None:
            return None
        if found[1] != idempotency.fingerprint:
            raise IdempotencyConflict()
        return found[0]

    def _remember(self, principal: Principal, idempotency: Idempotency | None, name: str) -> None:
        if idempotency is not None:
            self._keys[principal.tenant, idempotency.key] = (name, idempotency.fingerprint)

    async def get(self, principal: Principal, job: str) -> Job:
        found = self.jobs.get(job)
        if found is None or not principal.sees(found.tenant):
            raise JobUnknown(job)
        return found

    async def list(
        self,
        principal: Principal,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
        batch: str | None = None,
    ) -> JobPage:
        names = [
            job.id for job in self.jobs.values() if principal.sees(job.tenant) and (batch is None or job.batch == batch)
        ]
        return self._page(names if order == "asc" else names[::-1], after, limit)

    def _page(self, names: Sequence[str], after: str | None, limit: int) -> JobPage:
        if after is not None and after not in names:
            raise JobError(ErrorCode.CURSOR_INVALID, f"{after} is not of this list")
        first = 0 if after is None else names.index(after) + 1
        chosen = names[first : first + limit]
        return JobPage(tuple(self.jobs[name] for name in chosen), first + limit < len(names))

    async def cancel(self, principal: Principal, job: str) -> Job:
        found = await self.get(principal, job)
        if not found.status.terminal:
            await self._change(job, status=JobStatus.CANCELLED)
        return self.jobs[job]

    async def delete(self, principal: Principal, job: str) -> Job:
        await self.cancel(principal, job)
        return self.jobs.pop(job)

    async def watch(self, principal: Principal, job: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        seen = after
        while True:
            found = await self.get(principal, job)
            if found.version > seen:
                seen = found.version
                yield JobEvent(found.version, found.status.value, found)
            if found.status.terminal:
                return
            async with self._changed:
                while self.jobs[job].version <= seen:
                    await self._wait()

    async def media(self, principal: Principal, job: str, variant: Variant = "video") -> MediaFile:
        found = await self.get(principal, job)
        if found.status is not JobStatus.COMPLETED:
            raise NotReady(f"video {job} is {found.status}")
        path = self.folder / f"{job}{'.mp4' if variant == 'video' else '.jpg'}"
        if variant == "spritesheet":
            raise MediaExpired(job)
        data = path.read_bytes() if path.exists() else b""
        kind = "video/mp4" if variant == "video" else "image/jpeg"
        return MediaFile(path, hashlib.sha256(data).hexdigest(), len(data), kind)

    async def opening(self, principal: Principal, job: str) -> bytes | None:
        await self.get(principal, job)
        return self.openings[job]

    async def create_batch(
        self,
        principal: Principal,
        items: tuple[BatchItem, ...],
        *,
        metadata: Mapping[str, str] = NO_METADATA,
        idempotency: Idempotency | None = None,
    ) -> Batch:
        known = self._known(principal, idempotency)
        if known is not None:
            return await self.get_batch(principal, known)
        batch = Batch(
            id=f"batch_{len(self.batches) + 1}",
            tenant=principal.tenant,
            status=BatchStatus.IN_PROGRESS,
            counts=BatchCounts(),
            created_at=self.now,
            metadata=metadata,
        )
        self.batches[batch.id] = batch
        for item in items:
            job = self._add(principal, item.request, opening=item.opening, batch=batch)
            self.jobs[job.id] = replace(job, custom_id=item.custom_id)
        self._remember(principal, idempotency, batch.id)
        return await self.get_batch(principal, batch.id)

    async def get_batch(self, principal: Principal, batch: str) -> Batch:
        found = self.batches.get(batch)
        if found is None or not principal.sees(found.tenant):
            raise BatchUnknown(batch)
        states = [job.status for job in self.jobs.values() if job.batch == batch]
        counts = BatchCounts(**{status.value: states.count(status) for status in JobStatus})
        status = BatchStatus.IN_PROGRESS if counts.open else BatchStatus.COMPLETED
        return replace(found, counts=counts, status=status)

    async def list_batches(
        self, principal: Principal, *, after: str | None = None, limit: int = 20, order: Order = "desc"
    ) -> tuple[Batch, ...]:
        names = [batch.id for batch in self.batches.values() if principal.sees(batch.tenant)]
        names = names if order == "asc" else names[::-1]
        first = 0 if after is None else names.index(after) + 1
        return tuple([await self.get_batch(principal, name) for name in names[first : first + limit]])

    async def cancel_batch(self, principal: Principal, batch: str) -> Batch:
        await self.get_batch(principal, batch)
        for job in [job.id for job in self.jobs.values() if job.batch == batch]:
            await self.cancel(principal, job)
        return await self.get_batch(principal, batch)

    async def wait_batch(self, principal: Principal, batch: str, *, timeout: float) -> Batch:
        try:
            async with asyncio.timeout(timeout), self._changed:
                while (await self.get_batch(principal, batch)).counts.open:
                    await self._wait()
        except TimeoutError:
            pass  # as it stands
        return await self.get_batch(principal, batch)

    async def results(self, principal: Principal, batch: str, *, after: str | None = None, limit: int = 100) -> JobPage:
        await self.get_batch(principal, batch)
        return self._page([name for name in self.ended if self.jobs[name].batch == batch], after, limit)
