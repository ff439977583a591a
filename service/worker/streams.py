"""The engine's streams of this worker's sessions: where each is kept, and how it is brought to where it is wanted.

There may be more sessions than streams fit on the device. Those whose turn is farthest give up their place: as a copy
in host memory while there is room, else as journal and latents alone. Knows the engine and sessions; knows nothing of
messages or whose turn it is. Invariants: at most `places` streams are open, each is closed once, and no way in which a
stream was kept can be told from its pictures.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch

from models.errors import RestoreError
from models.journal import (
    Journal,
    PromptEvent,
    TakeEvent,
    Timeline,
    WeightedPrompt,
    event_from_json,
    event_to_json,
    take_at,
)
from service.ipc import Course, Prompt
from service.worker.engine import Copy, Engine
from service.worker.latents import CourseLatents, OpeningLatents
from service.worker.session import Session
from service.worker.tenancy import choices

logger = logging.getLogger(__name__)

SWAP_SHARE: Final = 0.1
"""Of the time blocks take, for streams that change places, where turns can be made long enough."""
_SMOOTHING: Final = 0.2


@dataclass(slots=True)
class _Parked:
    """A stream that has no place: what it is made from again."""

    journal: Journal
    agenda: Journal
    block: int
    copy: Copy | None
    opening: Sequence[torch.Tensor]


@dataclass(slots=True)
class _Kept:
    latents: CourseLatents
    stream: Any = None
    parked: _Parked | None = None
    told: int = 0
    """Events of the journal that have left with a chunk, or came with the course."""
    copies: dict[int, Copy] = field(default_factory=dict)
    """Of the stream as it stood before the blocks that nobody has seen yet."""


class Streams:
    """`urgency(session)` is compared: the session with the largest is the first to give up its place."""

    def __init__(
        self,
        engine: Engine,
        *,
        places: int,
        copy_bytes: int,
        longest_turn: int,
        urgency: Callable[[Session], tuple[float, ...]],
    ) -> None:
        self.places = places
        self._engine = engine
        self._copy_bytes = copy_bytes
        self._longest_turn = longest_turn
        self._urgency = urgency
        self._kept: dict[Session, _Kept] = {}
        self._block_seconds = 0.0
        self._swap_seconds = 0.0

    # Opening and closing.

    def open(self, session: Session, *, seed: int) -> int:
        """Start the stream, or go on where the course says; the seed. Raises EngineError, and OSError from files."""
        start = session.start
        kept = _Kept(CourseLatents(session.latents, session.history))
        if start.course is None:
            opening = None if start.picture is None else self._engine.picture_opening(start.picture)
            self._make_room(for_session=None)
            kept.stream = self._engine.start(
                weighted(start.prompts), seed=seed, opening=opening, adapters=choices(start.adapters)
            )
            self._kept[session] = kept
            session.latents.store_opening(kept.stream.opening)
            return seed
        self._make_room(for_session=None)
        journal = read_course(session, start.course)
        kept.told = len(journal.events)
        block = len(start.course.blocks)
        take = take_at(journal.events, block=block) if start.take is None else start.take
        # Also where it is the same take: blocks may have been taken back since the last chunk, and only a take that
        # begins here says so behind all that was told of them.
        waiting = map(event_from_json, start.course.waiting)
        journal = replace(journal, events=(*journal.events, TakeEvent(block=block, take=take), *waiting))
        kept.stream = self._engine.restore(journal, kept.latents, block, opening=OpeningLatents(session.latents))
        self._kept[session] = kept
        return journal.seed

    def close(self, session: Session) -> None:
        """Also of a session whose stream could not be opened."""
        kept = self._kept.pop(session, None)
        if kept is not None and kept.stream is not None:
            self._engine.close(kept.stream)

    # One stream.

    def hold(self, session: Session) -> Any:
        """The session's stream, on the device. Raises EngineError where it cannot be brought back."""
        kept = self._kept[session]
        if kept.parked is not None:
            began = time.perf_counter()
            self._make_room(for_session=session)
            parked = kept.parked
            kept.stream = self._engine.restore(
                parked.agenda, kept.latents, parked.block, snapshot=parked.copy, opening=parked.opening
            )
            kept.parked = None
            self._swap_seconds += _SMOOTHING * (time.perf_counter() - began - self._swap_seconds)
        return kept.stream

    def journal(self, session: Session) -> Journal:
        kept = self._kept[session]
        journal: Journal = kept.stream.journal if kept.parked is None else kept.parked.journal
        return journal

    def news(self, session: Session) -> tuple[str, ...]:
        """The events of the journal that have not been told yet, as JSON texts; they are told now."""
        kept, events = self._kept[session], self.journal(session).events
        told, kept.told = kept.told, len(events)
        return tuple(event_to_json(event) for event in events[told:])

    def keep_copy(self, session: Session, *, unseen: int) -> None:
        """Where the session may have to go back to the next block, keep a copy for it while there is room.

        Copies for blocks before `unseen` are let go.
        """
        kept = self._kept[session]
        for block in [block for block in kept.copies if block < unseen]:
            del kept.copies[block]
        block = kept.stream.next_block
        if session.speculates and block not in kept.copies:
            copy = self._copy(kept.stream)
            if copy is not None:
                kept.copies[block] = copy

    def take_back(self, session: Session, block: int) -> None:
        """As if `block` and what is after it had not been made yet. Raises EngineError."""
        stream, kept = self.hold(session), self._kept[session]
        self._engine.take_back(stream, kept.latents, block, snapshot=kept.copies.get(block))
        self._forget_copies(kept, after=block)

    def rewind(self, session: Session, block: int, *, take: int | None) -> int:
        """Begin `take`, None for the same noise, at `block`; its number. Raises EngineError."""
        stream, kept = self.hold(session), self._kept[session]
        begun = self._engine.rewind(stream, kept.latents, block, same_noise=take is None, take=take)
        self._forget_copies(kept, after=block)
        return begun

    def _forget_copies(self, kept: _Kept, *, after: int) -> None:
        for block in [block for block in kept.copies if block > after]:
            del kept.copies[block]

    # All of them.

    def made(self, seconds: float) -> None:
        """A block took so long."""
        self._block_seconds += (seconds - self._block_seconds) * (_SMOOTHING if self._block_seconds else 1.0)

    @property
    def block_seconds(self) -> float:
        """What a block takes, about; 0 before the first."""
        return self._block_seconds

    @property
    def turn_blocks(self) -> int:
        """Blocks that a session should make in a row, so that changing places stays a small share of the time."""
        if len(self._kept) <= self.places or not self._block_seconds:
            return 1
        wanted = math.ceil(self._swap_seconds / (SWAP_SHARE * self._block_seconds))
        return min(max(wanted, 1), self._longest_turn)

    @property
    def copied_bytes(self) -> int:
        """Host memory of all copies."""
        parked = [kept.parked.copy for kept in self._kept.values() if kept.parked is not None]
        held = [copy for kept in self._kept.values() for copy in kept.copies.values()]
        return sum(copy.bytes for copy in [*parked, *held] if copy is not None)

    def spare(self, session: Session) -> None:
        """The device's memory was not enough: give all that can be given, and bring this session's stream back whole.

        One place fewer is used from now on. Raises EngineError, and torch.OutOfMemoryError once more.
        """
        self.places = max(1, sum(kept.stream is not None for kept in self._kept.values()) - 1)
        logger.warning("out of memory: %d streams at once from now on", self.places)
        for other in self._resident():
            if other is not session:
                self._park(other)
        if session in self._kept and self._kept[session].stream is not None:
            self._park(session, with_copy=False)  # a pass may have been cut off: nothing of it is trusted
        torch.cuda.empty_cache()

    def _resident(self) -> list[Session]:
        return [session for session, kept in self._kept.items() if kept.stream is not None]

    def _make_room(self, *, for_session: Session | None) -> None:
        while len(resident := self._resident()) >= self.places:
            others = [session for session in resident if session is not for_session]
            self._park(max(others, key=self._urgency))

    def _park(self, session: Session, *, with_copy: bool = True) -> None:
        kept = self._kept[session]
        stream, kept.stream = kept.stream, None
        copy = self._copy(stream) if with_copy else None
        kept.parked = _Parked(stream.journal, stream.agenda, stream.next_block, copy, stream.opening)
        self._engine.close(stream)

    def _copy(self, stream: Any) -> Copy | None:
        """None where copies have no more room."""
        if self.copied_bytes >= self._copy_bytes:
            return None
        copy = self._engine.save(stream)
        return copy if self.copied_bytes + copy.bytes <= self._copy_bytes else None


def read_course(session: Session, course: Course) -> Journal:
    """The course's journal, and its blocks into the session's history. Raises EngineError."""
    journal = Journal.from_json(course.journal)
    prompts = [event for event in Timeline.of(journal.events).events if isinstance(event, PromptEvent)]
    place = 0
    for block, made in enumerate(course.blocks):
        if made.frames < 1:
            message = f"block {block} of the course must have frames, not {made.frames}"
            raise RestoreError(message, field="course")
        while place + 1 < len(prompts) and prompts[place + 1].block <= block:
            place += 1
        last = block == len(course.blocks) - 1
        ids = course.event_ids if last else tuple(filter(None, [prompts[place].event_id]))
        session.history.append(made.sequence, frames=made.frames, event_ids=ids)
    return journal


def weighted(prompts: tuple[Prompt, ...]) -> tuple[WeightedPrompt, ...]:
    return tuple(WeightedPrompt(prompt.text, prompt.weight) for prompt in prompts)
