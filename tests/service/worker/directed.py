"""Directed sessions on a real small engine in one worker loop, the record that a store would keep of them, and the
replay that this record has to give: what the schedules of tests are played on.

A schedule is a list of acts, each played when the worker has nothing left to do. `Record.check` is the claim of it all:
the journal alone makes the same frames again.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from models.generator import Generator
from models.journal import Journal
from service.chunk_rows import row_of
from service.ipc import Chunk, Command, Course, CourseBlock, Discarded, Event, Facts, Failed, Rewound, Start
from service.latent_files import latent_path, session_folder
from service.store.records import ChunkRow, course_of, events_before
from tests.models.engines import make_generator
from tests.service.worker.fakes import FACTS
from tests.service.worker.stage import Stage

SMALL = msgspec.structs.replace(
    FACTS, preset="small", width=16, height=16, fps=16, frames_per_block=12, first_block_frames=9
)
PROMPTS = ("a red ball", "blue sea", "green forest at night", "snow day", "city box")


@dataclass(slots=True)
class Record:
    """What is stored of one session."""

    session: str
    seed: int
    rows: list[ChunkRow] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    cut: int | None = None
    next_take: int | None = None
    """Begun, but without a chunk that tells of it."""
    active: tuple[str, ...] = ()

    def note(self, event: Event) -> None:
        match event:
            case Chunk():
                number = len(self.rows) and self.rows[-1].sequence + 1
                assert event.sequence == number, "numbers rise by one"
                position = sum(row.frames for row in self.course[: event.block]) / SMALL.fps
                assert event.pts == position, "media time is the place in the video"
                self.rows.append(row_of(event))
                self.events += event.events
                self.cut, self.next_take, self.active = None, None, event.event_ids
            case Discarded(block=block):
                self.cut = block if self.cut is None else min(block, self.cut)
            case Rewound(block=block, take=take):
                self.cut, self.next_take = block, take
            case Failed():
                raise AssertionError(f"{event.session}: {event.code}: {event.message}")

    @property
    def course(self) -> tuple[ChunkRow, ...]:
        return course_of(self.rows)[: self.cut]

    @property
    def prompts(self) -> list[str]:
        """The events that are prompts; a worker that goes on notes that it does."""
        return [event for event in self.events if '"type": "prompt"' in event]

    @property
    def waiting(self) -> tuple[str, ...]:
        """What took effect in blocks that were taken back, and is to take effect again."""
        if self.next_take is not None:
            return ()
        made = events_before(self.events, len(course_of(self.rows)))
        return tuple(self.events[place] for place in made[len(events_before(self.events, len(self.course))) :])

    def journal(self) -> str:
        held = [json.loads(self.events[place]) for place in events_before(self.events, len(self.course))]
        head = {"version": 1, "model": "small", "seed": self.seed, "fingerprint": "test"}
        return json.dumps({**head, "events": held})

    def start(self, *, take: int | None = None, **options: object) -> Start:
        """Go on with it."""
        rows = self.course
        course = Course(
            journal=self.journal(),
            blocks=tuple(CourseBlock(row.sequence, row.frames) for row in rows),
            sequence=len(self.rows) and self.rows[-1].sequence + 1,
            event_ids=self.active if self.cut is None else (),
            waiting=self.waiting,
        )
        start = Start(session=self.session, prompts=(), credits=2, format="raw", course=course, take=take)
        return msgspec.structs.replace(start, **options)

    def fork(self, name: str, block: int, *, take: int | None, store: Path) -> "Record":
        """As a store forks: blocks are numbered anew, latents are links to the same files."""
        rows = self.course[:block]
        session_folder(store, name).mkdir(parents=True)
        for row in rows:
            os.link(
                latent_path(store, self.session, sequence=row.sequence), latent_path(store, name, sequence=row.block)
            )
        held = [self.events[place] for place in events_before(self.events, len(rows))]
        if take is not None:
            held.append(json.dumps({"type": "take", "block": len(rows), "take": take}))
        return Record(name, self.seed, [replace(row, sequence=row.block) for row in rows], held)

    def check(self, generator: Generator) -> None:
        """The journal of the video as it stands makes the same frames again."""
        rows = self.course
        if not rows:
            return
        stream = generator.restore(Journal.from_json(self.journal()), [], 0)
        for row in rows:
            block = generator.step(stream)
            assert block is not None
            made = (block.index, block.take, block.attempt, block.frames_sha256)
            assert made == (row.block, row.take, row.attempt, row.frames_sha256), (self.session, row)


@dataclass(slots=True)
class Direction:
    """One worker after the other over one store; acts are played on the one that runs."""

    store: Path
    places: int = 4096
    copy_bytes: int = 1 << 20
    generator: Generator = field(default_factory=make_generator)
    records: dict[str, Record] = field(default_factory=dict)
    stage: Stage = field(init=False, repr=False)

    def say(self, *commands: Command) -> Callable[[], None]:
        """An act: these commands come."""
        return lambda: self.stage.channel.put(*commands)

    def begin(self, start: Start) -> Start:
        """A new session's record."""
        assert start.seed is not None
        self.records[start.session] = Record(start.session, start.seed)
        return start

    def play(self, acts: Sequence[Callable[[], None]], *, facts: Facts = SMALL, **settings: object) -> Stage:
        """One worker's life."""
        self.stage = Stage(
            places=self.places,
            store=self.store,
            generator=self.generator,
            facts=facts,
            copy_bytes=self.copy_bytes,
            max_sessions=64,
            guard=False,  # random weights make pictures that no model would
            **settings,
        )
        noted = 0

        def note() -> None:
            nonlocal noted
            for event in self.stage.channel.sent[noted:]:
                if isinstance(event, Chunk | Discarded | Rewound | Failed):
                    self.records[event.session].note(event)
            noted = len(self.stage.channel.sent)

        def noting(act: Callable[[], None]) -> Callable[[], None]:
            def play() -> None:
                note()
                act()

            return play

        self.stage.play(*[noting(act) for act in acts])
        note()
        return self.stage

    def check(self) -> None:
        for record in self.records.values():
            record.check(self.generator)
