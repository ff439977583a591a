"""Directs sessions with a real engine and a real store, the way worker and API do together, without either.

Knows the engine, the store and latent files. Invariant: a chunk's latents are on disk before its row is in the store,
and the events that took effect with it go into the same commit.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from models.generator import Generator
from models.journal import Event, Journal, TakeEvent, WeightedPrompt
from models.stream import Block, Stream
from models.weights import write_safetensors
from service.commands.stored import CourseLatents, StoredLatents
from service.ipc import Mode
from service.latent_files import TENSOR, latent_path
from service.store.document import SessionDocument
from service.store.history import CoursePoint
from service.store.records import ChunkRow, SessionRecord
from service.store.store import SessionStore


def event_text(event: Event) -> str:
    document = json.loads(Journal(model="", seed=0, fingerprint="", events=(event,)).to_json())
    return json.dumps(document["events"][0])


@dataclass(slots=True)
class Director:
    """One session that is live; `fork` makes another, which goes on from its point."""

    engine: Generator
    store: SessionStore
    session: str
    stream: Stream
    told: int = 0
    """Events of the stream's log that are in the store."""
    sequence: int = 0
    frames: int = 0
    blocks: list[Block] = field(default_factory=list)
    """All that were made, by chunk number; those that a fork came with are not here."""

    @classmethod
    async def begin(cls, engine: Generator, store: SessionStore, *, session: str, text: str) -> "Director":
        stream = engine.start([WeightedPrompt(text)], seed=7)
        preset = engine.preset
        record = SessionRecord(
            id=session,
            model=preset.name,
            width=preset.video.width,
            height=preset.video.height,
            fps=preset.video.fps,
            seed=7,
            fingerprint=engine.facts().fingerprint,
            options="{}",
            created_at=time.time(),
            family=session,
        )
        await store.open_session(record)
        return cls(engine, store, session, stream)

    async def step(self) -> Block:
        block = self.engine.step(self.stream)
        assert block is not None
        path = latent_path(self.store.folder, self.session, sequence=self.sequence)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(path, {TENSOR: block.kept}, {})
        row = ChunkRow(
            sequence=self.sequence,
            take=block.take,
            block=block.index,
            attempt=block.attempt,
            frames=len(block.frames),
            pts=float(block.index),
            frames_sha256=block.frames_sha256,
        )
        events = tuple(event_text(event) for event in self.stream.log[self.told :])
        await self.store.append_chunk(self.session, row, events=events)
        self.told = len(self.stream.log)
        self.sequence += 1
        self.blocks.append(block)
        return block

    def prompt(self, text: str, *, mode: Mode = "recache", transition_chunks: int = 0) -> None:
        self.engine.set_prompt(
            self.stream, [WeightedPrompt(text)], mode=mode, transition_chunks=transition_chunks, event_id=text
        )

    async def rewind(self, block: int, *, same_noise: bool = False) -> None:
        """As a worker that is started anew at the block, with a take of its own."""
        course = await self.store.course(self.session, CoursePoint(block=block))
        journal = Journal.from_json(course.journal)
        take = self.stream.take
        if not same_noise:
            take = await self.store.next_take((await self.store.get(self.session)).family)
        begun = Journal(
            model=journal.model,
            seed=journal.seed,
            fingerprint=journal.fingerprint,
            events=(*journal.events, TakeEvent(block=block, take=take)),
        )
        await self._stand(begun, block=block, told=len(journal.events))
        await self.store.take_back(self.session, block, from_sequence=self.sequence, reason="rewind")

    async def take_back(self, block: int) -> None:
        """What nobody has seen goes, and is made again under what comes next; the take stays."""
        first = (await self.store.course(self.session)).rows[block].sequence if block < self.stream.next_block else None
        course = await self.store.course(self.session, CoursePoint(block=block))
        await self._stand(Journal.from_json(course.journal), block=block, told=None)
        unseen = self.sequence if first is None else first
        await self.store.take_back(self.session, block, from_sequence=unseen, reason="prompt")

    async def park(self) -> None:
        """Let go of the stream, and have it again from journal and latents."""
        course = await self.store.course(self.session)
        await self._stand(Journal.from_json(course.journal), block=len(course.rows), told=None)

    async def fork(self, name: str, *, block: int, same_noise: bool = False) -> "Director":
        record = await self.store.fork(self.session, name, point=CoursePoint(block=block), same_noise=same_noise)
        await self.store.reopen_session(name)
        other = Director(self.engine, self.store, name, self.stream, sequence=record.next_sequence)
        await other.park()
        return other

    async def _stand(self, journal: Journal, *, block: int, told: int | None) -> None:
        course = await self.store.course(self.session, CoursePoint(block=block))
        stored = StoredLatents(self.store.folder, self.session)
        latents = {row.block: stored.chunk(row.sequence) for row in course.rows}
        found = {number: tensor for number, tensor in latents.items() if tensor is not None}
        self.stream = self.engine.restore(journal, CourseLatents(found, stored), block)
        self.told = len(self.stream.log) if told is None else told


async def document_of(store: SessionStore, session: str) -> SessionDocument:
    """The session as the API gives it, by way of its text."""
    document = SessionDocument(await store.get(session), await store.events(session), await store.chunks(session))
    assert SessionDocument.from_json(json.dumps(document.to_object())) == document
    return document


def latents_of(folder: Path, session: str) -> StoredLatents:
    return StoredLatents(folder, session)
