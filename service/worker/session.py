"""One directed video in the worker: its state, credits, clock, prompt timeline and everything it reports.

Knows messages and media time; knows nothing of tensors, threads or whose turn it is. Invariants: a state is only left
for one that may follow it; exactly one terminal message (`Ended` or `Failed`) is reported, and it is the last one;
media time is the place in the video as it stands; chunk numbers only rise, also where the session goes back.
"""

import logging
from enum import Enum
from typing import assert_never

from service.ipc import (
    Control,
    ControlApplied,
    Discarded,
    DiscardReason,
    Ended,
    EndReason,
    Facts,
    Failed,
    Interact,
    Queued,
    Rejected,
    Rewound,
    Start,
    Started,
    Superseded,
    Warned,
)
from service.media import InitSegment, init_segment
from service.worker.engine import EngineBlock
from service.worker.guard import BlockGuard
from service.worker.history import History
from service.worker.latents import LatentFiles
from service.worker.media import Application, EncodeJob, Lane, LateJob
from service.worker.pacing import Pace
from service.worker.timeline import Pending, Refusal, Timeline, blocks_ahead

logger = logging.getLogger(__name__)


class SessionState(Enum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


_NEXT_STATES: dict[SessionState, frozenset[SessionState]] = {
    SessionState.STARTING: frozenset({SessionState.RUNNING, SessionState.ENDED}),
    SessionState.RUNNING: frozenset({SessionState.PAUSED, SessionState.ENDED}),
    SessionState.PAUSED: frozenset({SessionState.RUNNING, SessionState.ENDED}),
    SessionState.ENDED: frozenset(),
}


class IllegalMove(AssertionError):
    """The worker's own fault: a session was told to do what its state does not allow."""


class Session:
    """Owned by the engine thread. What it reports goes over its lane, in order."""

    def __init__(
        self,
        start: Start,
        *,
        facts: Facts,
        lane: Lane,
        pace: Pace,
        timeline: Timeline,
        latents: LatentFiles,
        arrived_at: float,
    ) -> None:
        self.id = start.session
        self.state = SessionState.STARTING
        self.stopping = False
        """It ends as soon as the engine has let go of its stream."""
        self.interruptions = 0
        """Times that the block in the making was given up for a new prompt."""
        self.history = History()
        self.latents = latents
        self.guard = BlockGuard()
        self.start = start
        self._facts = facts
        self._lane = lane
        self._pace = pace
        self._timeline = timeline
        self._arrived_at = arrived_at
        self._begun_at = arrived_at
        self._credits = start.credits
        self._quality = start.quality
        self._next_sequence = 0 if start.course is None else start.course.sequence
        self._chunks = 0
        self._frames = 0
        self._first: tuple[str, ...] = (start.event_id,) if start.event_id else ()
        """What a session is under before a prompt has changed it."""

    # What the scheduler asks.

    @property
    def ready(self) -> bool:
        return self.state is SessionState.RUNNING and self._credits > 0 and not self.latents.full

    @property
    def background(self) -> bool:
        return self.start.background

    @property
    def due_at(self) -> float:
        return self._pace.due_at

    @property
    def deadline(self) -> float:
        return self._pace.deadline

    # Life.

    def run(self, *, seed: int) -> None:
        """The engine has its stream."""
        self._move(SessionState.RUNNING)
        facts = self._facts
        init = InitSegment("", b"")
        if self.start.format == "m4s":
            init = init_segment(width=facts.width, height=facts.height, fps=facts.fps)
        self._lane.post(
            Started(
                session=self.id,
                seed=seed,
                model=facts.preset,
                width=facts.width,
                height=facts.height,
                fps=facts.fps,
                block_frames=facts.block_frames,
                frames_per_block=facts.frames_per_block,
                first_block_frames=facts.first_block_frames,
                codec=init.codec,
                init=init.data,
            )
        )

    def end(self, reason: EndReason, *, journal: str) -> None:
        self._move(SessionState.ENDED)
        self._lane.post(
            Ended(session=self.id, reason=reason, chunks=self._chunks, frames=self._frames, journal=journal)
        )

    def fail(self, code: str, message: str, *, field: str | None = None) -> None:
        self._move(SessionState.ENDED)
        self._lane.post(Failed(session=self.id, code=code, message=message, field=field))

    @property
    def ended(self) -> bool:
        return self.state is SessionState.ENDED

    # Control.

    def grant(self, chunks: int) -> None:
        self._credits += chunks

    def sent(self, pts: float, at: float) -> None:
        """The chunk that begins at `pts` has left."""
        self._pace.sent(pts, at)

    def seen(self, position: float, at: float) -> None:
        """The viewer has reported its playhead."""
        self._pace.seen(position, at)

    def control(self, command: Control, *, now: float, in_making: bool) -> None:
        """Pause, resume or set the quality. Pausing what is paused changes nothing, and is answered all the same.

        Args:
            in_making: a block of this session is being made; it is finished and sent before a pause.
        """
        first = self._next_sequence
        match command.action:
            case "pause":
                first += in_making
                if self.state is not SessionState.PAUSED:
                    self._move(SessionState.PAUSED)
                    self._pace.pause(now)
            case "resume":
                if self.state is not SessionState.RUNNING:
                    self._move(SessionState.RUNNING)
                    self._pace.resume(now)
            case "quality":
                assert command.quality is not None, "the action `quality` comes with one"
                self._quality = command.quality
            case _:
                assert_never(command.action)
        self._lane.post(
            ControlApplied(
                session=self.id,
                action=command.action,
                quality=command.quality,
                sequence=first,
                event_id=command.event_id,
            )
        )

    def accept(self, command: Interact, *, arrived_at: float, in_making: bool) -> bool:
        """Take or refuse an interaction, and say which. True: it is meant for the present block or the next.

        Args:
            in_making: a block of this session is being made and will be finished without it.
        """
        try:
            pending = self._timeline.accept(command, arrived_at=arrived_at, position=self.position)
        except Refusal as error:
            self.reject(command.event_id, code=error.code, message=str(error), field=error.field)
            return False
        self._pace.urge()
        block_seconds = self._facts.frames_per_block / self._facts.fps
        ahead = blocks_ahead(pending, position=self.position, block_seconds=block_seconds)
        self._lane.post(
            Queued(session=self.id, event_id=command.event_id, ahead_blocks=max(ahead, 1) if in_making else ahead)
        )
        return ahead == 0

    # Making a block.

    @property
    def position(self) -> float:
        """Media seconds at which the next block, or the one in the making, begins."""
        return self.history.frames / self._facts.fps

    @property
    def complete(self) -> bool:
        """The asked length is reached."""
        limit = self.start.max_seconds
        return limit is not None and self.position >= limit

    def begin_block(self, now: float) -> list[Pending]:
        """A block is begun, or begun again. Returns the interactions that are due with it, newest first."""
        self._begun_at = now
        return self._timeline.due(self.position)

    def handed(self, pending: Pending, superseded: list[str]) -> None:
        """The engine has taken `pending`, and what it names will not be applied."""
        pending.handed = True
        for event_id in superseded:
            if event_id != pending.event_id and self._timeline.close(event_id):
                self._lane.post(Superseded(session=self.id, event_id=event_id, by=pending.event_id))

    def refuse(self, event_id: str, *, code: str, message: str, field: str | None = None) -> None:
        """An accepted interaction cannot take effect after all."""
        self._timeline.close(event_id)
        self.reject(event_id, code=code, message=message, field=field)

    def finish_block(self, block: EngineBlock, *, events: tuple[str, ...], now: float) -> EncodeJob:
        """Count the block and take its place in the order of what leaves."""
        applications = self._apply(block)
        active = tuple(block.started[-1:]) or self.history.event_ids or self._first
        sequence, pts, frames = self._next_sequence, self.position, len(block.frames)
        self._pace.made(frames / self._facts.fps)
        self.history.append(sequence, frames=frames, event_ids=active)
        self.latents.keep(sequence, block.kept)
        self.guard.accept(block.latents)
        self.interruptions = 0
        self._credits -= 1
        self._next_sequence += 1
        self._chunks += 1
        self._frames += frames
        return EncodeJob(
            session=self.id,
            lane=self._lane,
            place=self._lane.take_place(),
            block=block,
            sequence=sequence,
            pts=pts,
            fps=self._facts.fps,
            format=self.start.format,
            quality=self._quality,
            event_ids=active,
            started_event_ids=tuple(application.event_id for application in applications),
            events=events,
            applications=applications,
            latents=self.latents,
            lead_seconds=self._pace.lead(now),
            must_store=self.background,
        )

    @property
    def late(self) -> LateJob | None:
        """Where something of it waits for the disk."""
        return LateJob(self.id, self._lane, self.latents) if self.latents.late else None

    def _apply(self, block: EngineBlock) -> tuple[Application, ...]:
        applications = []
        if self._chunks == 0 and self.start.event_id and self.start.course is None:
            applications.append(Application(self.start.event_id, self._arrived_at, self._begun_at))
        for event_id in block.started:
            pending = self._timeline.close(event_id)
            if pending is not None:
                applications.append(Application(pending.event_id, pending.arrived_at, self._begun_at))
        return tuple(applications)

    # Going back.

    @property
    def watched(self) -> bool:
        """Somebody watches by the clock, so that there is something on screen and something that is not yet."""
        return self.start.pacing == "realtime"

    @property
    def speculates(self) -> bool:
        """It is made further ahead than the settings' lead, so that a new prompt has something to take back."""
        return self.watched and self.start.buffer_seconds > 0

    def unseen(self, now: float, *, margin: float) -> int:
        """The first block that nobody sees in `margin` seconds; the next one where nobody watches by the clock."""
        shown = self._pace.shown(now)
        return len(self.history) if shown is None else self.history.after((shown + margin) * self._facts.fps)

    def block_wanted_back(self, now: float, *, margin: float) -> int | None:
        """Where to go back to for the prompts that wait; None where all that was made stays."""
        wanted = self._timeline.wanted() if self.speculates else []
        if not wanted:
            return None
        block = max(self.unseen(now, margin=margin), self.history.after(min(wanted) * self._facts.fps))
        return block if block < len(self.history) else None

    def taken_back(self, block: int, *, reason: DiscardReason) -> None:
        """The engine stands at the end of `block` - 1 again; what was made after it is not to be shown."""
        self._discard(block, block=block, reason=reason)
        self._pace.take_back(self.position)
        self._timeline.gone_back(self.position, lost=False)

    def rewound(self, block: int, *, take: int, event_id: str, now: float) -> None:
        """The engine stands at the end of `block` - 1, and `take` begins there; what was seen of the rest was seen."""
        self._discard(max(block, self.unseen(now, margin=0.0)), block=block, reason="rewind")
        self._pace.jump(self.position, now)
        self._timeline.gone_back(self.position, lost=True)
        self._lane.post(
            Rewound(session=self.id, block=block, take=take, sequence=self._next_sequence, event_id=event_id)
        )

    def _discard(self, first: int, *, block: int, reason: DiscardReason) -> None:
        """Forget the blocks from `block` on; the chunks of those from `first` on have not been seen."""
        if first < len(self.history):
            self._lane.post(
                Discarded(
                    session=self.id,
                    from_sequence=self.history[first].sequence,
                    next_sequence=self._next_sequence,
                    block=block,
                    reason=reason,
                )
            )
        self.history.cut(block)
        self.guard.forget()

    def warn(self, warning: Warned) -> None:
        """Say something that stops nothing."""
        self._lane.post(warning)

    def reject(self, event_id: str, *, code: str, message: str, field: str | None = None) -> None:
        """An interaction that was never accepted."""
        self._lane.post(Rejected(session=self.id, event_id=event_id, code=code, message=message, field=field))

    def _move(self, to: SessionState) -> None:
        allowed = _NEXT_STATES[self.state]
        if to not in allowed:
            expected = ", ".join(sorted(state.value for state in allowed)) or "nothing"
            raise IllegalMove(f"session {self.id} is {self.state.value}: expected {expected} next, got {to.value}")
        logger.info("session %s: %s -> %s", self.id, self.state.value, to.value)
        self.state = to
