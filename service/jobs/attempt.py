"""One attempt at a job: its session in the engine, block by block into the store, up to the finished film.

Knows the worker client, the book and the files; nothing of who asked or of other jobs. Invariants: a block's fragment
is on the disk before the block is in the book, and only then may the engine make another; an attempt ends in exactly
one `Outcome`; it goes on behind the last block that the book has, with the same seed and journal.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol, TypeVar

from service import ipc
from service.chunk_rows import row_of
from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError
from service.jobs.book import Block, JobBook
from service.jobs.failures import JobError, StaleAttempt
from service.jobs.files import Film, FragmentFile, JobFiles
from service.jobs.outcomes import Done, Failed, Lost, Outcome, Released, Stale, trouble_of
from service.jobs.rows import StoredFile
from service.jobs.script import Script, prompt_starts
from service.jobs.sessions import begins_of, course_of, empty_course, record_of, start_of
from service.jobs.values import Job, JobFailure
from service.store.failures import SessionUnknown
from service.store.records import NUMERICS_CHANGED, StoredCourse

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Worker(Protocol):
    """What an attempt needs of the worker client."""

    @property
    def facts(self) -> ipc.Facts | None: ...

    async def open_background(self, start: ipc.Start, listener: "Attempt") -> None: ...

    async def send(self, command: ipc.Interact | ipc.Credit | ipc.Stop) -> None: ...

    async def release(self, session: str) -> None: ...


class AttemptStage(Enum):
    PREPARING = auto()
    """It will need a place in a worker."""
    STREAMING = auto()
    """It has one."""
    FINISHING = auto()
    """It needs none any more."""


@dataclass(frozen=True, slots=True)
class _LostNews:
    message: str


@dataclass(frozen=True, slots=True)
class _EndNews:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class _LetGo:
    """Whoever runs it wants the place back; the job waits."""


_News = ipc.SessionEvent | _LostNews | _EndNews | _LetGo


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """The worker client's listener. `in_thread` runs what waits for the disk."""

    job: Job
    book: JobBook
    files: JobFiles
    worker: Worker
    config: ServiceConfig
    stage: AttemptStage = AttemptStage.PREPARING
    _news: "asyncio.Queue[_News]" = field(default_factory=asyncio.Queue)
    _fragments: FragmentFile | None = None
    _script: Script | None = None
    _frames: int = 0
    """That the video is to have."""
    _leaving: bool = False
    _blocks: int = 0
    _position: int = 0
    """Frames that the book has."""

    # The worker client's side: none of these waits or raises

    def deliver(self, event: ipc.SessionEvent) -> None:
        self._news.put_nowait(event)

    def queued(self, position: int, waiting: int) -> None:
        """Jobs do not wait for a place there."""

    def admitted(self) -> None:
        """Nor are they told of one."""

    def draining(self, deadline_seconds: float) -> None:
        self.let_go()

    def end(self, code: ErrorCode, message: str) -> None:
        self._news.put_nowait(_EndNews(code, message))

    def worker_lost(self, message: str) -> None:
        self._news.put_nowait(_LostNews(message))

    def worker_ready(self) -> None:
        """Another attempt will be made with it."""

    def let_go(self) -> None:
        """End soon, with nothing lost."""
        self._news.put_nowait(_LetGo())

    # Its life

    async def run(self) -> Outcome:
        """Until the film is made, or this attempt can do no more."""
        try:
            return await self._make()
        except StaleAttempt:
            return Stale()
        except JobError as error:
            return Failed(JobFailure(error.code, error.message))
        except (SessionError, OSError) as error:
            return trouble_of(error)
        finally:
            if self._fragments is not None:
                self._fragments.close()
            await self.worker.release(self.job.id)

    async def _make(self) -> Outcome:
        course = await self._course()
        self._blocks, self._position = len(course.rows), course.frames
        before = await self.book.media_before(self.job)
        self._fragments = await _in_thread(
            lambda: FragmentFile.begin(self.files, self.job.id, attempt=self.job.attempt, of=before)
        )
        await self.book.keep_media(self.job, self._fragments.length)
        if not self._whole:
            outcome = await self._stream(course)
            if not isinstance(outcome, Done) and not self._whole:
                return outcome
        return await self._finish()

    @property
    def _whole(self) -> bool:
        return self.job.frames is not None and self._position >= self.job.frames

    async def _course(self) -> StoredCourse:
        try:
            return await self.book.store.course(self.job.id)
        except SessionUnknown:
            return empty_course()

    async def _stream(self, course: StoredCourse) -> Outcome:
        """Have the engine make what is missing."""
        facts = self.worker.facts
        if facts is None:
            return Released()
        self._frames = round(self.job.request.seconds * facts.fps)
        self._script = Script(self.job.request, session=self.job.id, events=course.events)
        opening = await self._opening() if not course.rows else None
        start = start_of(self.job, course=course_of(course), max_seconds=self._frames / facts.fps, opening=opening)
        self.stage = AttemptStage.STREAMING
        await self.worker.open_background(start, self)
        while True:
            try:
                async with asyncio.timeout(self.config.answer_timeout if self._leaving else None):
                    news = await self._news.get()
            except TimeoutError:
                return Released()
            outcome = await self._heed(news, facts)
            if outcome is not None:
                return outcome

    async def _opening(self) -> bytes | None:
        name = await self.book.opening_of(self.job)
        return None if name is None else await _in_thread(lambda: self.files.read(self.job.id, name))

    async def _heed(self, news: _News, facts: ipc.Facts) -> Outcome | None:
        match news:
            case ipc.Started():
                await self._began(news, facts)
            case ipc.Chunk():
                await self._store(news)
            case ipc.Rejected():
                return Failed(JobFailure(news.code, f"{news.event_id}: {news.message}"))
            case ipc.Warned():
                said = {"type": "warning", "code": news.code, "message": news.message, "event_id": news.event_id}
                await self.book.note(self.job, json.dumps(said, ensure_ascii=False))
            case ipc.Ended():
                return Done() if news.reason == "completed" else Released()
            case ipc.Failed():
                return trouble_of(SessionError(ErrorCode.INTERNAL_ERROR, news.message), code=news.code)
            case _LostNews():
                return Lost(news.message)
            case _EndNews():
                return Released()
            case _LetGo():
                await self.worker.send(ipc.Stop(session=self.job.id))  # a block that is under way still comes
                self._leaving = True
        return None

    async def _began(self, event: ipc.Started, facts: ipc.Facts) -> None:
        """The engine has opened the session; the file begins with what every fragment needs."""
        assert self._fragments is not None, "the file is opened before the session"
        record = record_of(self.job, event, fingerprint=facts.fingerprint, now=self.book.clock())
        before = await self.book.fingerprint_of(self.job)
        notes: tuple[str, ...] = ()
        if before not in (None, facts.fingerprint):
            notes = (json.dumps({"type": NUMERICS_CHANGED, "fingerprint": facts.fingerprint}),)
        self.job = await self.book.begin(self.job, record, frames=self._frames, notes=notes)
        if self._fragments.length == 0:
            fragments = self._fragments
            length = await _in_thread(lambda: fragments.append(event.init))
            await self.book.keep_media(self.job, length)
        await self._feed(event.frames_per_block, event.fps)
        await self.worker.send(ipc.Credit(session=self.job.id, chunks=self.config.session_credits))

    async def _store(self, event: ipc.Chunk) -> None:
        """A block: on the disk, in the book, and then the next one may come."""
        assert self._fragments is not None, "a chunk comes after the start"
        if event.block != self._blocks:
            message = f"the engine sent block {event.block} where {self._blocks} was due"
            raise JobError(ErrorCode.INTERNAL_ERROR, message)
        fragments = self._fragments
        length = await _in_thread(lambda: fragments.append(event.payload))
        block = Block(
            row=row_of(event),
            events=event.events,
            media_bytes=length,
            engine_seconds=_engine_seconds(event.timings),
        )
        self.job = await self.book.add_block(self.job, block)
        self._blocks += 1
        self._position += len(event.frames)
        await self._feed(len(event.frames), event.fps)
        await self.worker.send(ipc.Credit(session=self.job.id))

    async def _feed(self, block_frames: int, fps: int) -> None:
        """The prompts of all blocks that the engine may now begin."""
        assert self._script is not None, "prompts come after the start"
        horizon = self._position + self.config.session_credits * block_frames
        for interaction in self._script.due(horizon / fps):
            await self.worker.send(interaction)

    async def _finish(self) -> Outcome:
        """All blocks are there: the film, without the frames that are too many."""
        self.stage = AttemptStage.FINISHING
        assert self._fragments is not None, "the file is opened before anything is made"
        assert self.job.frames is not None, "known since the engine began"
        assert self.job.fps is not None, "known since the engine began"
        course = await self.book.store.course(self.job.id)
        fps = round(self.job.fps)
        film = Film(
            job=self.job.id,
            attempt=self.job.attempt,
            media_bytes=self._fragments.length,
            frames=self.job.frames,
            fps=fps,
            model=self.job.request.model or "",
            chapters=prompt_starts(
                self.job.request, course.events, begins=begins_of(course), fps=fps, until=self.job.frames
            ),
        )
        files = await _in_thread(lambda: _film(self.files, film))
        await self.book.complete(self.job, files)
        await _in_thread(lambda: self.files.remove_fragments(self.job.id))
        return Done()


def _film(files: JobFiles, film: Film) -> tuple[StoredFile, ...]:
    """What reads pictures is imported where it works: the rest of the process has no need of it."""
    from service.jobs.films import make_film

    return make_film(files, film)


def _engine_seconds(timings: ipc.StageMilliseconds) -> float:
    stages = (timings.text, timings.recache, timings.denoise, timings.clean, timings.decode)
    return sum(stages) / 1000


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)
