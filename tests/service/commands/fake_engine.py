"""An engine whose blocks say what it was told: frame n of a video is grey of value n, 12 frames a block."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from models.journal import Event, Journal, PromptEvent, Timeline, WeightedPrompt
from models.opening import Opening
from models.stream import Block, LatentSource, PromptChange, StageTimings
from service.ipc import Mode, Sink

FRAMES = 12


@dataclass(frozen=True, slots=True)
class FakePreset:
    name: str = "fake"
    width: int = 16
    height: int = 16
    fps: int = 16


@dataclass(frozen=True, slots=True)
class FakeReading:
    kept_characters: int
    unknown_words: tuple[str, ...]


@dataclass(slots=True)
class FakeStream:
    journal: Journal
    waiting: list[PromptEvent] = field(default_factory=list)
    future: list[Event] = field(default_factory=list)
    blocks: int = 0
    commits: int = 0
    closed: bool = False


class FakeEngine:
    """The generator's calls, without a model."""

    def __init__(self) -> None:
        self.preset = FakePreset()
        self.streams: list[FakeStream] = []

    def read_prompt(self, text: str) -> FakeReading:
        """Words in capitals are not known, and ten words are read."""
        words = text.split(" ")
        kept = len(" ".join(words[:10]))
        return FakeReading(kept, tuple(word for word in words if word.isupper()))

    def start(self, prompts: Sequence[WeightedPrompt], *, seed: int, opening: Opening | None = None) -> FakeStream:
        first = PromptEvent(block=0, prompts=tuple(prompts))
        return self._keep(FakeStream(Journal(model="fake", seed=seed, fingerprint="fake", events=(first,))))

    def restore(self, journal: Journal, latents: LatentSource, block: int) -> FakeStream:
        assert block == 0
        first, *future = Timeline.of(journal.events).events
        kept = Journal(model=journal.model, seed=journal.seed, fingerprint="fake", events=(first,))
        return self._keep(FakeStream(kept, future=future))

    def set_prompt(
        self,
        stream: FakeStream,
        prompts: Sequence[WeightedPrompt],
        *,
        mode: Mode,
        sink: Sink,
        transition_chunks: int,
        event_id: str,
    ) -> PromptChange:
        superseded = tuple(event.event_id for event in stream.waiting)
        event = PromptEvent(
            block=stream.blocks,
            prompts=tuple(prompts),
            mode=mode,
            sink=sink,
            transition_chunks=transition_chunks,
            event_id=event_id,
        )
        stream.waiting = [event]
        return PromptChange(stream.blocks, superseded)

    def step(self, stream: FakeStream) -> Block:
        assert not stream.closed
        due = [*[event for event in stream.future if event.block == stream.blocks], *stream.waiting]
        stream.waiting = []
        events = (*stream.journal.events, *due)
        stream.journal = Journal(model="fake", seed=stream.journal.seed, fingerprint="fake", events=events)
        first = stream.blocks * FRAMES
        values = np.arange(first, first + FRAMES, dtype=np.uint8)
        frames = np.broadcast_to(values[:, None, None, None], (FRAMES, 16, 16, 3))
        stream.blocks += 1
        ids = tuple(event.event_id for event in due if isinstance(event, PromptEvent))
        return Block(
            index=stream.blocks - 1,
            scene_block=stream.blocks - 1,
            take=0,
            attempt=0,
            latents=torch.zeros(3, 4, 2, 2),
            frames=np.ascontiguousarray(frames),
            started=ids,
            completed=ids,
            timings=StageTimings(),
        )

    def commit(self, stream: FakeStream) -> None:
        stream.commits += 1

    def close(self, stream: FakeStream) -> None:
        stream.closed = True

    def _keep(self, stream: FakeStream) -> FakeStream:
        self.streams.append(stream)
        return stream
