"""The store of sessions: their record, journal and chunks in SQL, their latents in files; the API process's own.

Knows nothing of the web, the worker or tensors. Invariants: what a call has returned for is committed, and is there
after a `kill -9`; reads see whole commits only; a live session is never deleted, nor swept.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from service.errors import ConfigError
from service.latent_files import LATENTS
from service.store import prompts, queries
from service.store.cursor import read_cursor, write_cursor
from service.store.database import FolderLock, for_writing, lock_schema, open_database
from service.store.failures import SessionLive, StoreError, StoreFailed
from service.store.history import NOW, CoursePoint, copy_history, link_latents, read_course
from service.store.holding import Holder
from service.store.holds import HoldBook
from service.store.keys import KeyBook
from service.store.migrate import prepare
from service.store.prompts import AcceptedPrompt, PromptEnd
from service.store.records import (
    DISCARDED,
    REWIND,
    TAKEN_UP,
    ChunkRow,
    EndReason,
    Page,
    SessionRecord,
    StoredCourse,
    StoredEvent,
)
from service.store.retention import Retention, Swept, expired, latent_sizes, remove_latents, remove_orphans
from service.store.writer import Writer

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Bounds of a store; times in seconds."""

    busy_timeout: float = 5.0
    queue: int = 256
    """Writes that may wait."""
    readers: int = 2
    url: str | None = None
    """Of a database on a server, which several processes share, as they do the folder; None: a file in the folder."""
    hold_seconds: float = 30.0
    """How long a process that is silent still counts as there."""


class SessionStore:
    """Open it with `SessionStore(folder)`, end it with `close`. Its coroutines run in any event loop."""

    def __init__(self, folder: Path, options: StoreOptions | None = None) -> None:
        """Raises ConfigError if the folder cannot be used, is in use, or is of a newer version."""
        options = options or StoreOptions()
        self.folder = folder
        _make_folder(folder)
        self._lock = FolderLock(folder) if options.url is None else None
        try:
            self._engine = open_database(folder, busy_timeout=options.busy_timeout, url=options.url)
            _begin(self._engine, alone=options.url is None)
        except BaseException:
            self._let_go()
            raise
        self._writer = Writer(self._engine, room=options.queue)
        self._readers = ThreadPoolExecutor(options.readers, thread_name_prefix="longtake-store-reader")
        self.keys = KeyBook(self._writer.do, self._read)
        self.holds = HoldBook(self._writer, Holder(uuid.uuid4().hex, options.hold_seconds))

    def close(self) -> None:
        """Returns when all that was asked for is written."""
        self._writer.close()
        self._readers.shutdown()
        self._engine.dispose()
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.release()

    @property
    def commits(self) -> int:
        """Transactions written since the start."""
        return self._writer.commits

    # For rows of other kinds, on the same database

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once it is committed: all of it, or nothing. Raises what it raises, or StoreFailed."""
        return await self._writer.do(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work`, which only reads, returns: of one state of the database."""
        return await self._read(work)

    # A session's life

    async def open_session(self, record: SessionRecord) -> None:
        """A new session, live and without a chunk."""

        def work(connection: Connection) -> None:
            queries.add_session(connection, record)
            self.holds.begin(connection, record.id)

        await self._writer.do(work)

    async def append_chunk(
        self, session: str, row: ChunkRow, *, events: tuple[str, ...] = (), ended: tuple[PromptEnd, ...] = ()
    ) -> None:
        """A chunk, the engine's events that took effect with it, and the prompts that did."""

        def work(connection: Connection) -> None:
            queries.add_chunk(connection, session, row=row, events=events)
            prompts.end(connection, session, ends=ended, sequence=row.sequence)

        await self._held(session, work)

    async def accept_prompt(self, session: str, prompt: AcceptedPrompt, *, keep: int) -> None:
        """It waits for its block; `keep` others that have ended are remembered. Raises HoldLost."""

        def work(connection: Connection) -> None:
            self.holds.require(connection, session)
            prompts.accept(connection, session, prompt=prompt, keep=keep)

        await self._writer.do(work)

    async def end_prompt(self, session: str, ended: PromptEnd) -> None:
        """It will not take effect. Raises HoldLost."""

        def work(connection: Connection) -> None:
            sequence = queries.record_of(connection, session).next_sequence
            prompts.end(connection, session, ends=[ended], sequence=sequence)

        await self._held(session, work)

    async def _held(self, session: str, work: Callable[[Connection], T]) -> T:
        """A write to a session, for who holds it. Raises HoldLost."""

        def checked(connection: Connection) -> T:
            self.holds.check(connection, session)
            return work(connection)

        return await self._writer.do(checked)

    async def append_note(self, session: str, text: str) -> None:
        """A JSON object with a `type`, for the record: the engine does not read it."""

        def work(connection: Connection) -> None:
            sequence = queries.record_of(connection, session).next_sequence
            queries.add_events(connection, session, events=[StoredEvent(sequence, text, engine=False)])

        await self._held(session, work)

    async def take_back(self, session: str, block: int, *, from_sequence: int, reason: str) -> None:
        """What was made from `block` on is no part of the video; of it, chunks from `from_sequence` on were not shown.

        Until the next chunk comes, which says so by its block, `course` ends here; the note stays.
        """
        note = json.dumps({"type": DISCARDED, "block": block, "from_sequence": from_sequence, "reason": reason})

        def work(connection: Connection) -> None:
            sequence = queries.record_of(connection, session).next_sequence
            if reason == TAKEN_UP:
                prompts.hold_back(connection, session)
            elif reason == REWIND:
                prompts.let_through(connection, session)
            queries.cut_session(connection, session, block=block)
            queries.add_events(connection, session, events=[StoredEvent(sequence, note, engine=False)])

        await self._held(session, work)

    async def end_session(self, session: str, reason: EndReason) -> None:
        """It is live no more, and none of its prompts waits."""

        def work(connection: Connection) -> None:
            queries.end_session(connection, session, reason=reason, at=time.time())
            prompts.forget(connection, session)

        await self._held(session, work)
        self.holds.forget(session)

    async def reopen_session(self, session: str) -> SessionRecord:
        """An ended session is live again. Raises SessionLive if it is."""

        def work(connection: Connection) -> SessionRecord:
            if queries.record_of(connection, session).live:
                raise SessionLive(session)
            queries.end_session(connection, session, reason=None, at=None)
            self.holds.begin(connection, session)
            return queries.record_of(connection, session)

        return await self._writer.do(work)

    async def next_take(self, family: str) -> int:
        """The number of a new take, that no session of the family has used."""
        return await self._writer.do(lambda connection: queries.take_number(connection, family))

    # Reading; each raises SessionUnknown

    async def get(self, session: str) -> SessionRecord:
        return await self._read(lambda connection: queries.record_of(connection, session))

    async def list(self, after: str | None = None, *, limit: int = 20, tenant: str | None = None) -> Page:
        """The newest first, from the cursor `after` on: a tenant's, or everybody's. Raises CursorInvalid."""
        place = read_cursor(after) if after is not None else None
        found = await self._read(
            lambda connection: queries.records_after(connection, place, limit=limit + 1, tenant=tenant)
        )
        return Page(found[:limit], write_cursor(found[limit - 1]) if len(found) > limit else None)

    async def chunks(self, session: str) -> tuple[ChunkRow, ...]:
        """All that left the worker, in order."""

        def work(connection: Connection) -> tuple[ChunkRow, ...]:
            queries.record_of(connection, session)
            return queries.chunks_of(connection, session)

        return await self._read(work)

    async def events(self, session: str) -> tuple[StoredEvent, ...]:
        """The engine's events and the notes, in order."""

        def work(connection: Connection) -> tuple[StoredEvent, ...]:
            queries.record_of(connection, session)
            return queries.events_of(connection, session)

        return await self._read(work)

    async def journal(self, session: str) -> tuple[str, ...]:
        """The texts of `events`."""
        return tuple(event.text for event in await self.events(session))

    async def prompts(self, session: str) -> tuple[AcceptedPrompt, ...]:
        """Those that wait, and the newest of those that have ended, in order."""
        return await self._read(lambda connection: prompts.of(connection, session))

    async def course(self, session: str, point: CoursePoint = NOW) -> StoredCourse:
        """How the session goes on from a point, by default from its end. Raises ForkPointInvalid."""
        return await self._read(lambda connection: read_course(connection, session, point=point))

    # Forks and ends

    async def fork(
        self, session: str, new_id: str, *, point: CoursePoint = NOW, same_noise: bool = False
    ) -> SessionRecord:
        """A session with the history of `session` before a point, which has ended: `reopen_session` lets it go on.

        Its blocks are chunks 0, 1, 2 ..; without `same_noise` a new take begins after them. Raises SessionUnknown,
        ForkPointInvalid or LatentsMissing; there is no new session then.
        """
        parent, course = await self.get(session), await self.course(session, point)
        take = None if same_noise else await self.next_take(parent.family)
        now, blocks = time.time(), len(course.rows)
        record = replace(
            parent,
            id=new_id,
            parent=session,
            parent_block=blocks,
            created_at=now,
            ended_at=now,
            end_reason="forked",
            next_sequence=blocks,
        )
        await self._writer.do(lambda connection: queries.add_session(connection, record, unfinished=True))
        try:
            await asyncio.to_thread(link_latents, self.folder, session, target=new_id, rows=course.rows)
            await self._writer.do(lambda connection: copy_history(connection, record, course=course, take=take))
        except StoreError:
            await self._remove(new_id)
            raise
        return record

    async def delete(self, session: str) -> None:
        """With its latents. Raises SessionUnknown or SessionLive."""
        await self._remove(session, check=True)

    async def sweep(self, keep: Retention, *, now: float) -> Swept:
        """Delete what is kept no longer, and folders that belong to no session."""
        sizes = await asyncio.to_thread(latent_sizes, self.folder)
        # Read after the folders: whoever has a folder had a record before.
        known = await self._read(queries.all_ids)
        ended = await self._read(queries.ended_sessions)
        gone = []
        for session in expired(ended, sizes=sizes, now=now, keep=keep):
            if await self._remove_if_ended(session):
                gone.append(session)
        orphans = tuple(sorted(set(sizes) - known))
        await asyncio.to_thread(remove_orphans, self.folder, orphans)
        left = sum(size for name, size in sizes.items() if name in known and name not in gone)
        return Swept(tuple(gone), orphans, left)

    async def _remove_if_ended(self, session: str) -> bool:
        """False if it lives again, or is gone, since it was chosen."""
        try:
            await self._remove(session, check=True)
        except StoreError as error:
            if isinstance(error, StoreFailed):
                raise
            return False
        return True

    async def _remove(self, session: str, *, check: bool = False) -> None:
        """The record first: latents without one are rubbish, a record without latents would be a lie."""

        def work(connection: Connection) -> None:
            if check and queries.record_of(connection, session).live:
                raise SessionLive(session)
            queries.delete_session(connection, session)

        await self._writer.do(work)
        await asyncio.to_thread(remove_latents, self.folder, session)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        def run() -> T:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                raise StoreFailed(f"the store cannot be read: {error.__cause__ or error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)


def _make_folder(folder: Path) -> None:
    try:
        (folder / LATENTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the store's folder {folder} cannot be made: {error.strerror}") from error


def _begin(engine: Engine, *, alone: bool) -> None:
    """`alone`: no other process has the store, so nothing in it is live. Raises ConfigError."""
    try:
        with for_writing(engine).begin() as connection:
            lock_schema(connection)
            prepare(connection)
            if alone:
                queries.end_all(connection, reason="interrupted", at=time.time())
    except SQLAlchemyError as error:
        raise ConfigError(f"the store {engine.url.database} cannot be opened: {error.__cause__ or error}") from error
