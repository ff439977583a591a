"""What is kept of jobs no longer: files after their time, rows after theirs, folders that no row knows.

Knows the store's rows and the files; nothing of the engine. Invariants: a job that is not terminal is never touched; a
row that names files is changed before they go, so that no row names what is not there; a sweep that fails is made
again.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from service.jobs import rows
from service.jobs.book import JobBook
from service.jobs.files import JobFiles
from service.store.failures import StoreClosed, StoreError

logger = logging.getLogger(__name__)
_AT_ONCE = 256
_STRAY_SECONDS = 3600.0
"""A job's folder may be there so long before its row is."""


@dataclass(frozen=True, slots=True)
class Swept:
    """Jobs whose files, whose rows, and whose stray folders were deleted."""

    expired: tuple[str, ...]
    forgotten: tuple[str, ...]
    stray: tuple[str, ...]


async def keep_swept(book: JobBook, files: JobFiles, *, interval: float) -> None:
    """A sweep now and then one every `interval` seconds, until it is cancelled or the store is closed."""
    while True:
        try:
            swept = await sweep(book, files)
        except StoreClosed:
            return
        except (StoreError, OSError) as error:
            logger.warning("jobs could not be swept: %s", error)
        else:
            if any((swept.expired, swept.forgotten, swept.stray)):
                counts = (len(swept.expired), len(swept.forgotten), len(swept.stray))
                logger.info("jobs: files of %d, rows of %d and %d stray folders deleted", *counts)
        await asyncio.sleep(interval)


async def sweep(book: JobBook, files: JobFiles) -> Swept:
    """Everything that is due, once. Raises StoreError, OSError."""
    store, now = book.store, book.clock()
    kept = book.config.job_retain_hours * 3600
    expired = await store.read(lambda connection: rows.expiring(connection, now, limit=_AT_ONCE))
    for job in expired:
        await store.write(partial(rows.expire, job=job))
        await asyncio.to_thread(files.remove, job)
        await book.drop_session(job)
        book.bells.ring(job)
    forgotten = await store.read(lambda connection: rows.long_expired(connection, now - kept, limit=_AT_ONCE))
    for job in forgotten:
        await store.write(partial(rows.delete_job, job=job))
    await store.write(lambda connection: rows.forget_keys(connection, now - book.config.idempotency_hours * 3600))
    await store.write(lambda connection: rows.drop_empty_batches(connection, now - kept))
    old = await asyncio.to_thread(files.old_names, now - _STRAY_SECONDS)
    # Read after the folders: whoever has an old folder has a row, or will never have one.
    known = await store.read(rows.all_ids)
    stray = tuple(sorted(set(old) - known))
    for job in stray:
        await asyncio.to_thread(files.remove, job)
    return Swept(expired, forgotten, stray)
