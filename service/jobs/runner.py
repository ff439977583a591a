"""Runs jobs: takes them up in their turn while the workers have room, and writes down how each attempt ended.

Knows the book, attempts and the disk's room; nothing of the engine or of who asked. Invariants: no more jobs at once
than the workers have room for; a job that a worker was lost with runs alone, so that no other is blamed for it; none is
begun while the disk is below its floor; what an attempt came to is written down, however often that has to be tried.
"""

import asyncio
import contextlib
import logging
from typing import Protocol

from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError
from service.jobs import rows
from service.jobs.attempt import Attempt, AttemptStage, Worker
from service.jobs.bells import rung
from service.jobs.book import JobBook
from service.jobs.failures import JobUnknown, StaleAttempt
from service.jobs.files import JobFiles
from service.jobs.outcomes import Done, Failed, Lost, Outcome, Released, Stale, Trouble
from service.jobs.values import Job, JobFailure, JobStatus
from service.store.failures import StoreClosed, StoreError

logger = logging.getLogger(__name__)
QUEUE = "queue"
"""The bell that rings when a job may be taken up."""
_LOOK_SECONDS = 1.0
_STOP_SECONDS = 10.0
_MOST_FINISHING = 4
"""Films that are put together at once."""


class Workers(Worker, Protocol):
    @property
    def background_room(self) -> int:
        """Jobs that they would take now."""


class Runner:
    def __init__(self, book: JobBook, files: JobFiles, *, workers: Workers, config: ServiceConfig, owner: str) -> None:
        self._book = book
        self._files = files
        self._workers = workers
        self._config = config
        self._owner = owner
        self._running: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._recovered = False
        self.waiting = 0
        """Jobs that were queued when it last looked."""
        self._renewed_at = book.clock()

    @property
    def running(self) -> tuple[str, ...]:
        """Jobs that are being made here."""
        return tuple(self._running)

    async def run(self, *, alone: bool) -> None:
        """Until `stop`; never raises for what is wrong with the store or the disk.

        Args:
            alone: no other server shares the store, so that jobs which are being made are nobody's.
        """
        self._recovered = not alone
        with self._book.bells.listening(QUEUE) as bell:
            while not self._stopping:
                bell.clear()
                if not await self._looked():
                    return
                await rung(bell, min(_LOOK_SECONDS, self._config.job_retry_delay))

    async def _looked(self) -> bool:
        """False once the store is closed. A fault of ours is written down, and the next look is made all the same."""
        looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait({looking})
        finally:
            looking.cancel()
        error = None if looking.cancelled() else looking.exception()
        if isinstance(error, StoreError) and not isinstance(error, StoreClosed):
            logger.warning("no job can be taken up: %s", error)
        elif error is not None and not isinstance(error, StoreClosed):
            logger.error("jobs could not be looked after", exc_info=error)
        return not isinstance(error, StoreClosed)

    async def _look(self) -> None:
        if not self._recovered:
            logger.info("%d jobs go on that were being made", await self._book.recover())
            self._recovered = True
        await self._fill()
        self.waiting = await self._book.store.read(rows.waiting_jobs)
        await self._renew()

    async def stop(self) -> None:
        """Every job that is being made here waits again, at the end of its last block."""
        self._stopping = True
        self._book.bells.ring(QUEUE)
        for attempt in self._running.values():
            attempt.let_go()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def let_go(self, job: str) -> None:
        """It was cancelled or deleted: its attempt finds so."""
        if job in self._running:
            self._running[job].let_go()

    async def _fill(self) -> None:
        while not self._stopping and self._has_room():
            job = await self._book.claim(self._owner, untroubled=bool(self._running), but=self.running)
            if job is None:
                return
            self._begin(job)

    def _has_room(self) -> bool:
        running = self._running.values()
        coming = sum(attempt.stage is AttemptStage.PREPARING for attempt in running)
        finishing = sum(attempt.stage is AttemptStage.FINISHING for attempt in running)
        if self._workers.background_room <= coming or finishing >= _MOST_FINISHING:
            return False
        if any(attempt.job.losses for attempt in running):
            return False
        try:
            return self._files.free_bytes() >= self._config.disk_floor_bytes
        except OSError as error:
            logger.warning("the room on the disk is not known: %s", error)
            return False

    def _begin(self, job: Job) -> None:
        attempt = Attempt(job=job, book=self._book, files=self._files, worker=self._workers, config=self._config)
        self._running[job.id] = attempt
        task = asyncio.create_task(self._make(attempt), name=f"job-{job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make(self, attempt: Attempt) -> None:
        job = attempt.job
        making = asyncio.create_task(attempt.run())
        try:
            await asyncio.wait({making})
            await self._write_down(job, _outcome_of(making, job))
        finally:
            making.cancel()
            del self._running[job.id]
            self._book.bells.ring(QUEUE)

    async def _write_down(self, job: Job, outcome: Outcome) -> None:
        """Once it can be: until then the job is this attempt's, and no other's."""
        while True:
            try:
                await self._settle(job, outcome)
                return
            except (StaleAttempt, JobUnknown):
                await self._tidy(job)
                return
            except StoreClosed:
                return  # the next server finds it as it is
            except SessionError as error:
                logger.warning("job %s: its attempt's end cannot be written down yet: %s", job.id, error)
            await asyncio.sleep(self._config.job_retry_delay)

    async def _settle(self, job: Job, outcome: Outcome) -> None:
        logger.info("job %s: attempt %d: %s", job.id, job.attempt, type(outcome).__name__.lower())
        match outcome:
            case Failed(failure):
                await self._book.fail(job, failure)
                await self._tidy(job)
            case Lost(message):
                lost = await self._book.lose(job, message)
                if lost.status.terminal:
                    await self._tidy(job)
            case Trouble(failure):
                logger.warning("job %s waits: %s", job.id, failure.message)
                await self._book.release(job, trouble=failure)
            case Released():
                await self._book.release(job)
            case Stale():
                raise StaleAttempt(job.id, job.attempt)
            case Done():
                pass

    async def _tidy(self, job: Job) -> None:
        """What a job that is made no further has left; one that another attempt makes is left alone."""
        with contextlib.suppress(StoreError):  # then it is for the next sweep
            now = await self._book.find(job.id)
            if now is None:
                await asyncio.to_thread(self._files.remove, job.id)
            elif now.status in (JobStatus.FAILED, JobStatus.CANCELLED):
                await asyncio.to_thread(self._files.remove_made, job.id)

    async def _renew(self) -> None:
        now = self._book.clock()
        if self._running and now >= self._renewed_at + self._config.job_lease / 3:
            self._renewed_at = now
            await self._book.renew(tuple(attempt.job for attempt in self._running.values()))


def _outcome_of(making: "asyncio.Task[Outcome]", job: Job) -> Outcome:
    """A fault of ours fails one job, and is written down."""
    if making.cancelled():
        return Released()
    error = making.exception()
    if error is None:
        return making.result()
    logger.error("job %s failed", job.id, exc_info=error)
    return Failed(JobFailure(ErrorCode.INTERNAL_ERROR, "A fault of the server."))
