"""The engine loop: take what has come, ask whose block is next, make it, hand it on.

One thread runs it and owns the engine; everything else in the worker only leaves notes for it. Knows blocks and whose
turn it is; knows nothing of tensors, encoding or processes. Invariants: an error of one session (`EngineError`) ends
or refuses only what it belongs to, any other error leaves the loop; the inbox is also read between the passes of a
block.
"""

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

import torch

from models.errors import EngineError
from service.channel import Arrival
from service.errors import ErrorCode
from service.ipc import Event, Facts
from service.worker.engine import Engine, EngineBlock, Frames
from service.worker.media import ChannelBroken, ChunkFailed, ChunkSent, MediaThreads, Report
from service.worker.reading import reading_warnings
from service.worker.session import Session
from service.worker.settings import WorkerSettings
from service.worker.streams import weighted
from service.worker.table import SessionTable
from service.worker.tenancy import choices

_LATE_SECONDS = 1.0
"""Between two tries of what a disk did not take."""


class Channel(Protocol):
    """The worker's end; `service.channel.WorkerChannel` outside tests."""

    def send(self, event: Event) -> None: ...
    def drain(self) -> list[Arrival]: ...
    def wait(self, timeout: float) -> list[Arrival]: ...
    def wake(self) -> None: ...


@dataclass(slots=True)
class Progress:
    """What the heartbeat reads from its own thread: single values, each written by the loop alone."""

    moved_at: float
    busy: bool = True
    """Not resting: the loop has to move again soon."""
    blocks: int = 0
    sessions: int = 0


def unguarded(_latents: torch.Tensor, _frames: Frames) -> str | None:
    """The answer where the guard is turned off."""
    return None


class Loop:
    def __init__(
        self,
        engine: Engine,
        facts: Facts,
        *,
        settings: WorkerSettings,
        channel: Channel,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress = Progress(moved_at=clock())
        self._engine = engine
        self._settings = settings
        self._channel = channel
        self._clock = clock
        self._drain_asked = False
        self._tried_at = clock()
        self._table = SessionTable(engine, facts, settings=settings, send=channel.send, clock=clock)
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._media = MediaThreads(
            settings.encoder_threads,
            queue_size=settings.encoder_queue,
            report=self._note,
            clock=clock,
            mark_frames=settings.mark_frames,
        )

    def run(self) -> None:
        """Until a drain is asked for; then every session is ended and what was made has left."""
        table = self._table
        while not table.draining:
            self._moved()
            self._take_reports()
            self._try_late()
            table.obey(self._channel.drain())
            session = table.scheduler.next(self._clock())
            if session is None:
                self._rest()
            else:
                self._make(session)
            table.draining |= self._drain_asked
        table.end_all("drained")
        table.obey(self._channel.drain())  # those who come last are told that nothing starts any more
        self._media.close(self._settings.drain_timeout)
        self._take_reports()

    def ask_drain(self) -> None:
        """Callable from a signal handler: seen when the loop comes round."""
        self._drain_asked = True

    def _make(self, session: Session) -> None:
        table, began = self._table, self._clock()
        try:
            block = self._make_in_memory(session)
            if session.ended:
                return
            if block is not None:
                self.progress.blocks += 1
                table.streams.made(self._clock() - began)
                table.scheduler.turn_blocks = table.streams.turn_blocks
                table.scheduler.block_seconds = table.streams.block_seconds
            if session.stopping:
                table.end(session, "stopped")
            elif session.complete:
                table.end(session, "completed")
            elif block is not None:
                self._commit(session)
        except EngineError as error:
            table.fail(session, code=error.code, message=str(error), field=error.field)

    def _make_in_memory(self, session: Session) -> EngineBlock | None:
        """Where the device's memory is not enough, everything else gives way and it is tried once more."""
        try:
            return self._make_block(session)
        except torch.OutOfMemoryError:
            self._table.streams.spare(session)
        try:
            return self._make_block(session)
        except torch.OutOfMemoryError:
            self._table.fail(session, code=ErrorCode.OUT_OF_MEMORY, message="the device has no memory for its block")
            return None

    def _make_block(self, session: Session) -> EngineBlock | None:
        table, margin = self._table, self._settings.unseen_margin
        stream = table.streams.hold(session)
        back = session.block_wanted_back(self._clock(), margin=margin)
        if back is not None and not table.take_back(session, back, reason="prompt"):
            return None
        table.streams.keep_copy(session, unseen=session.unseen(self._clock(), margin=margin))
        self._hand_over(session, stream)
        check = session.guard.check if self._settings.guard else unguarded
        with table.engaged(session):
            block = self._engine.step(stream, interrupted=self._interrupted, check=check)
        if block is not None:
            job = session.finish_block(block, events=table.streams.news(session), now=self._clock())
            self._media.submit(job, timeout=self._settings.media_timeout)
        return block

    def _commit(self, session: Session) -> None:
        try:
            self._engine.commit(self._table.streams.hold(session))
        except torch.OutOfMemoryError:
            self._table.streams.spare(session)  # the clean pass is run when the stream is brought back

    def _hand_over(self, session: Session, stream: Any) -> None:
        """Give the engine the newest prompt that is due; the older ones it replaces are superseded."""
        due = session.begin_block(self._clock())
        for number, pending in enumerate(due):
            command = pending.command
            try:
                change = self._engine.set_prompt(
                    stream,
                    weighted(command.prompts),
                    mode=command.mode,
                    sink=command.sink,
                    transition_chunks=command.transition_chunks,
                    event_id=command.event_id,
                    adapters=choices(command.adapters),
                )
            except EngineError as error:
                session.refuse(pending.event_id, code=error.code, message=str(error), field=error.field)
                continue
            for warning in reading_warnings(
                self._engine, session.id, prompts=command.prompts, event_id=command.event_id
            ):
                session.warn(warning)
            older = [replaced.event_id for replaced in due[number + 1 :]]
            session.handed(pending, [*older, *change.superseded])
            return

    def _interrupted(self) -> bool:
        """Asked by the engine between passes."""
        self._moved()
        if self._table.reading:
            self._table.obey_while_making(self._channel.drain())
        return self._table.unwanted

    def _rest(self) -> None:
        """Until something comes, somebody is due, or it is time to look round."""
        now = self._clock()
        until_due = self._table.scheduler.next_due_at(now) - now
        self.progress.busy = False
        arrivals = self._channel.wait(min(until_due, self._settings.poll_interval))
        self.progress.busy = True
        self._take_reports()  # what left meanwhile is on screen for the commands that came meanwhile
        self._table.obey(arrivals)

    def _moved(self) -> None:
        self.progress.moved_at = self._clock()
        self.progress.sessions = len(self._table)

    def _try_late(self) -> None:
        """What the disk did not take is tried again, now and then."""
        now = self._clock()
        if now >= self._tried_at + _LATE_SECONDS:
            self._tried_at = now
            for job in self._table.late:
                self._media.try_again(job)

    def _note(self, report: Report) -> None:
        """Called by the encoder threads."""
        self._reports.put(report)
        self._channel.wake()

    def _take_reports(self) -> None:
        while True:
            try:
                report = self._reports.get_nowait()
            except queue.Empty:
                return
            match report:
                case ChunkSent(session=name, pts=pts, at=at):
                    if session := self._table.get(name):
                        session.sent(pts, at)
                case ChunkFailed(session=name, code=code, message=message):
                    if session := self._table.get(name):
                        self._table.fail(session, code=code, message=message)
                case ChannelBroken(error=error):
                    raise error
                case _:
                    assert_never(report)
