"""What the web's side asks of jobs, as a Protocol: REST and commands are built on it.

Types only; knows nothing of SQL, HTTP or the engine. Invariants: what belongs to another tenant is answered exactly as
what does not exist; what is answered has been committed.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from service.access.principal import Principal
from service.jobs.values import (
    NO_METADATA,
    Batch,
    BatchItem,
    Idempotency,
    Job,
    JobEvent,
    JobPage,
    JobRequest,
    MediaFile,
    Order,
    Variant,
)


class JobService(Protocol):
    """Each raises JobError (service/jobs/failures.py) with a code of the registry."""

    async def create(
        self,
        principal: Principal,
        request: JobRequest,
        *,
        opening: bytes | None = None,
        idempotency: Idempotency | None = None,
    ) -> Job:
        """A queued job; `opening` is the file of a picture or clip to begin with, kept beside it.

        The same key with the same fingerprint gives the same job; with another one IDEMPOTENCY_CONFLICT.
        QUEUE_FULL where too many wait, DISK_FULL below the disk's floor.
        """

    async def get(self, principal: Principal, job: str) -> Job:
        """VIDEO_UNKNOWN where there is none."""

    async def list(
        self,
        principal: Principal,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
        batch: str | None = None,
    ) -> JobPage:
        """By age, the newest first by default. `after`: the id of the last job of the page before; CURSOR_INVALID."""

    async def cancel(self, principal: Principal, job: str) -> Job:
        """It is made no further. One that is terminal stays as it is."""

    async def delete(self, principal: Principal, job: str) -> Job:
        """With its files and its session; one that is not terminal is cancelled first. The job as it was."""

    def watch(self, principal: Principal, job: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        """Its state now, if newer than `after`, and each newer one; ends behind the terminal one."""

    async def media(self, principal: Principal, job: str, *, variant: Variant = "video") -> MediaFile:
        """VIDEO_NOT_READY before it is completed, VIDEO_EXPIRED once its files are deleted."""

    async def opening(self, principal: Principal, job: str) -> bytes | None:
        """The file that the job begins with, None where it begins with nothing. VIDEO_EXPIRED once it is deleted."""

    async def create_batch(
        self,
        principal: Principal,
        items: tuple[BatchItem, ...],
        *,
        metadata: Mapping[str, str] = NO_METADATA,
        idempotency: Idempotency | None = None,
    ) -> Batch:
        """All jobs of the batch, or none."""

    async def get_batch(self, principal: Principal, batch: str) -> Batch:
        """BATCH_UNKNOWN where there is none."""

    async def list_batches(
        self, principal: Principal, *, after: str | None = None, limit: int = 20, order: Order = "desc"
    ) -> tuple[Batch, ...]:
        """By age. CURSOR_INVALID."""

    async def cancel_batch(self, principal: Principal, batch: str) -> Batch:
        """Every job of it that is not terminal."""

    async def wait_batch(self, principal: Principal, batch: str, *, timeout: float) -> Batch:
        """Once no job of it is open, or after `timeout` seconds, as it then is."""

    async def results(self, principal: Principal, batch: str, *, after: str | None = None, limit: int = 100) -> JobPage:
        """The terminal jobs of a batch in the order in which they ended; `after`: the id of the last one known.

        What comes later ended later, so that paging misses none. BATCH_UNKNOWN, CURSOR_INVALID.
        """
