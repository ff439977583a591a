"""The sessions that are open in this worker, and what each command does to them.

Knows commands, sessions and their streams; knows nothing of encoding or the channel. Invariants: whatever `start`
opened is closed exactly once; a command that comes between two passes never touches the engine, so it may be obeyed
there at once or has to wait for the end of the block.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

import torch

from models.errors import EngineError
from models.journal import PromptEvent, check_event
from service.channel import Arrival
from service.errors import ConfigError, ErrorCode
from service.ipc import (
    Command,
    Control,
    Credit,
    DiscardReason,
    EndReason,
    Facts,
    Interact,
    Playback,
    Rewind,
    Shutdown,
    Start,
    Stop,
)
from service.worker.engine import Engine
from service.worker.latents import LatentFiles
from service.worker.media import Lane, LateJob, Send, tell_stored
from service.worker.pacing import Pace, RealtimePace, UnpacedPace
from service.worker.reading import reading_warnings
from service.worker.scheduler import Scheduler
from service.worker.session import Session
from service.worker.settings import WorkerSettings
from service.worker.streams import Streams, weighted
from service.worker.tenancy import Tenancy, choices
from service.worker.timeline import Refusal, Timeline

logger = logging.getLogger(__name__)


class SessionTable:
    def __init__(
        self,
        engine: Engine,
        facts: Facts,
        *,
        settings: WorkerSettings,
        send: Send,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scheduler: Scheduler[Session] = Scheduler()
        self.draining = False
        self.making: Session | None = None
        """Whose block is being made."""
        self.unwanted = False
        """The block in the making is to be given up."""
        self.streams = Streams(
            engine,
            places=facts.max_streams,
            copy_bytes=facts.plan.host_budget_bytes if settings.copy_bytes is None else settings.copy_bytes,
            longest_turn=settings.turn_blocks,
            urgency=self._urgency,
        )
        self._tenancy = Tenancy(engine)
        self._engine = engine
        self._facts = facts
        self._settings = settings
        self._send = send
        self._clock = clock
        self._open: dict[str, Session] = {}
        self._deferred: list[Arrival] = []

    def __len__(self) -> int:
        return len(self._open)

    def get(self, session: str) -> Session | None:
        return self._open.get(session)

    # Commands.

    @contextmanager
    def engaged(self, session: Session) -> Iterator[None]:
        """While the engine makes a block of `session`."""
        self.making, self.unwanted = session, False
        try:
            yield
        finally:
            self.making = None

    @property
    def reading(self) -> bool:
        """False: what has been read waits for the end of the block, so nothing more should be read."""
        return not self._deferred

    def obey(self, arrivals: Sequence[Arrival]) -> None:
        """Between two blocks: everything that had to wait, then these."""
        waiting, self._deferred = self._deferred, []
        for arrival in [*waiting, *arrivals]:
            self._obey(arrival)

    def obey_while_making(self, arrivals: Sequence[Arrival]) -> None:
        """Between two passes: what needs the engine, and everything behind it, waits for `obey`."""
        for arrival in arrivals:
            if self._deferred or self._needs_engine(arrival.command):
                self._deferred.append(arrival)
            else:
                self._obey(arrival)

    def _needs_engine(self, command: Command) -> bool:
        """It waits for the end of the block; one that takes blocks of the same session back has it given up."""
        match command:
            case Start() | Shutdown():
                return True
            case Rewind() | Control(action="pause"):
                session = self._open.get(command.session)
                if session is None or (isinstance(command, Control) and not session.watched):
                    return False
                self.unwanted |= session is self.making
                return True
            case _:
                return False

    def _obey(self, arrival: Arrival) -> None:
        command = arrival.command
        if isinstance(command, Shutdown):
            self.draining = True
            return
        if isinstance(command, Start):
            self._start(command, arrival.at)
            return
        session = self._open.get(command.session)
        if session is None:
            return  # it has ended in the meantime, which the other side has been told or soon is
        match command:
            case Interact():
                self._interact(session, command, arrival.at)
            case Credit(chunks=chunks):
                session.grant(chunks)
            case Control():
                self._control(session, command)
            case Rewind():
                self._rewind(session, command)
            case Playback(position=position):
                session.seen(position, arrival.at)
            case Stop():
                self._stop(session)
            case _:
                assert_never(command)

    def _interact(self, session: Session, command: Interact, arrived_at: float) -> None:
        try:
            check_event(_as_event(command))
            self._tenancy.change(session.id, command.adapters)
        except (Refusal, EngineError) as error:
            session.reject(command.event_id, code=error.code, message=str(error), field=error.field)
            return
        making = session is self.making
        may_interrupt = session.interruptions < self._settings.interrupts_per_block
        wanted_now = session.accept(command, arrived_at=arrived_at, in_making=making and not may_interrupt)
        if making and wanted_now and may_interrupt:
            session.interruptions += 1
            self.unwanted = True

    def _control(self, session: Session, command: Control) -> None:
        if command.action == "pause" and session is not self.making:
            back = session.unseen(self._clock(), margin=self._settings.unseen_margin)
            if not self.take_back(session, back, reason="pause"):
                return
        session.control(command, now=self._clock(), in_making=session is self.making)

    def take_back(self, session: Session, block: int, *, reason: DiscardReason) -> bool:
        """Let go of what is made from `block` on. False: the session could not go back, and has ended."""
        if block >= len(session.history):
            return True
        try:
            self.streams.take_back(session, block)
        except EngineError as error:
            self.fail(session, code=error.code, message=str(error), field=error.field)
            return False
        session.taken_back(block, reason=reason)
        return True

    def _rewind(self, session: Session, command: Rewind) -> None:
        made = len(session.history)
        if not 0 <= command.block <= made:
            message = f"expected a block of 0..{made} to go back to, got {command.block}"
            session.reject(command.event_id, code=ErrorCode.FORK_POINT_INVALID, message=message, field="block")
            return
        try:
            take = self.streams.rewind(session, command.block, take=command.take)
        except EngineError as error:
            self.fail(session, code=error.code, message=str(error), field=error.field)
            return
        session.rewound(command.block, take=take, event_id=command.event_id, now=self._clock())

    def _stop(self, session: Session) -> None:
        session.stopping = True
        if session is self.making:
            self.unwanted = True
        else:
            self.end(session, "stopped")

    # Opening and ending.

    def _start(self, start: Start, arrived_at: float) -> None:
        session = Session(
            start,
            facts=self._facts,
            lane=Lane(self._send, clock=self._clock),
            pace=self._pace(start, arrived_at),
            timeline=Timeline(self._settings.interaction_queue),
            latents=LatentFiles(Path(self._settings.store_dir), start.session, room=self._settings.late_bytes),
            arrived_at=arrived_at,
        )
        seed = secrets.randbelow(2**63) if start.seed is None else start.seed
        try:
            self._admit(start)
            self._tenancy.enter(start)
            seed = self._open_stream(session, seed)
        except (Refusal, EngineError) as error:
            self.streams.close(session)
            if start.session not in self._open:
                self._tenancy.leave(start.session)
            session.fail(error.code, str(error), field=error.field)
        else:
            self._open[session.id] = session
            self.scheduler.add(session)
            session.run(seed=seed)
            for interact in start.interactions:
                self._interact(session, interact, arrived_at)
            for warning in reading_warnings(self._engine, session.id, prompts=start.prompts, event_id=start.event_id):
                session.warn(warning)

    def _open_stream(self, session: Session, seed: int) -> int:
        """Raises EngineError, or Refusal where files or memory are not to be had."""
        try:
            return self.streams.open(session, seed=seed)
        except torch.OutOfMemoryError:
            self.streams.close(session)
            self.streams.spare(session)
        except (OSError, ConfigError) as error:
            raise Refusal(ErrorCode.STORE_FAILED, f"the session's files cannot be written: {error}") from error
        session.history.cut(0)
        try:
            return self.streams.open(session, seed=seed)
        except torch.OutOfMemoryError as error:
            raise Refusal(ErrorCode.OUT_OF_MEMORY, "the device has no memory left for another stream") from error

    def _urgency(self, session: Session) -> tuple[float, ...]:
        """The largest is to wait longest for its next block."""
        turn = self.scheduler.last_turn(session)
        return (float(not session.ready), float(session.background), session.deadline, turn)

    def _admit(self, start: Start) -> None:
        """Raises Refusal for what this worker cannot do."""
        facts = self._facts
        if self.draining:
            raise Refusal(ErrorCode.SERVER_DRAINING, "expected no further session: the worker is ending")
        if start.session in self._open:
            raise Refusal(ErrorCode.SESSION_ALREADY_STARTED, f"expected a new session, {start.session} is open")
        limit = self._settings.max_jobs if start.background else self._settings.max_sessions
        if sum(session.background is start.background for session in self._open.values()) >= limit:
            what = "jobs" if start.background else "sessions"
            raise Refusal(ErrorCode.CAPACITY, f"expected at most {limit} {what} at once")
        if start.model not in (None, facts.preset):
            raise Refusal(
                ErrorCode.MODEL_UNKNOWN, f"expected model {facts.preset!r}, got {start.model!r}", field="model"
            )
        for field, asked, made in (("width", start.width, facts.width), ("height", start.height, facts.height)):
            if asked not in (None, made):
                raise Refusal(
                    ErrorCode.SIZE_INVALID,
                    f"expected {field} {made}, which {facts.preset} makes, got {asked}",
                    field=field,
                )

    def _pace(self, start: Start, arrived_at: float) -> Pace:
        if start.pacing == "none":
            return UnpacedPace(opened_at=arrived_at)
        fps = self._facts.fps
        block_seconds = self._facts.frames_per_block / fps
        frames = sum(block.frames for block in start.course.blocks) if start.course is not None else 0
        return RealtimePace(
            max(self._settings.lead_blocks * block_seconds, start.buffer_seconds),
            patience=self._settings.playback_patience,
            opened_at=arrived_at,
            extra=block_seconds,
            position=frames / fps,
        )

    @property
    def late(self) -> tuple[LateJob, ...]:
        """Sessions of which something waits for the disk."""
        return tuple(job for session in self._open.values() if (job := session.late) is not None)

    def end(self, session: Session, reason: EndReason) -> None:
        self._store_late(session)
        session.end(reason, journal=self.streams.journal(session).to_json())
        self._close(session)

    def fail(self, session: Session, *, code: str, message: str, field: str | None = None) -> None:
        self._store_late(session)
        session.fail(code, message, field=field)
        self._close(session)

    def _store_late(self, session: Session) -> None:
        """Once more, and then never again."""
        if session.late is not None:
            tell_stored(session.late)
            session.latents.give_up()

    def end_all(self, reason: EndReason) -> None:
        for session in list(self._open.values()):
            self.end(session, reason)

    def _close(self, session: Session) -> None:
        assert session is not self.making, "a stream is not closed while its block is being made"
        del self._open[session.id]
        self.scheduler.remove(session)
        self.streams.close(session)
        self._tenancy.leave(session.id)


def _as_event(command: Interact) -> PromptEvent:
    return PromptEvent(
        block=0,
        prompts=weighted(command.prompts),
        mode=command.mode,
        sink=command.sink,
        transition_chunks=command.transition_chunks,
        event_id=command.event_id,
        adapters=choices(command.adapters),
    )
