"""An engine without a model: a fake, not a mock.

`FakeEngine` has the interface of the real one (`service/worker/engine.py`); its picture is a function of seed, prompt
and block, so that two runs can be compared, and its state one of the journal, so that it can be brought anywhere.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from models.errors import AdapterError, EngineError, FaultyBlockError, OpeningError
from models.journal import (
    AdapterChoice,
    AttemptEvent,
    Journal,
    PromptEvent,
    TakeEvent,
    Timeline,
    WeightedPrompt,
    take_at,
)
from models.journal import Event as JournalEvent
from models.opening import Opening
from models.stream import LatentSource, read_block
from service.ipc import Mode, Sink
from service.worker.engine import Frames

FPS = 8
FIRST_FRAMES = 2
FRAMES_PER_BLOCK = 4
PASSES = 4
LATENT_SHAPE = (1, 4, 2, 2)
SIZE = 16


@dataclass(frozen=True, slots=True)
class FakeLicence:
    name: str = "none"
    url: str = "https://example.org/none"
    commercial: bool = False
    accept_required: bool = True


@dataclass(frozen=True, slots=True)
class FakePreset:
    name: str = "fake"
    title: str = "A fake"
    licence: FakeLicence = FakeLicence()
    width: int = SIZE
    height: int = SIZE
    fps: int = FPS
    block_frames: int = 3
    suggested_prompts: tuple[str, ...] = ("a fake",)


@dataclass(frozen=True, slots=True)
class FakeFacts:
    fingerprint: str = "fake"
    device: str = "none"
    dtype: str = "none"
    attention: str = "none"
    parameters: int = 1
    cache_bytes_per_stream: int = 1
    adapters: tuple[str, ...] = ("ink", "wash")


@dataclass(frozen=True, slots=True)
class FakeTimings:
    text: float = 0.0
    recache: float = 0.0
    denoise: float = 1.0
    clean: float = 1.0
    decode: float = 1.0


TEXT_LENGTH = 40


@dataclass(frozen=True, slots=True)
class FakeReading:
    kept_characters: int
    unknown_words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FakeMemory:
    budget_bytes: int
    text_encoder_bytes: int = 0
    codec_bytes: int = 0
    host_budget_bytes: int = 100
    snapshot_bytes: int = 1
    weights_bytes: int = 10
    workspace_bytes: int = 10
    cache_bytes: int = 5
    text_bytes: int = 2
    decoder_bytes: int = 2
    history_bytes: int = 1
    stream_bytes: int = 10

    @property
    def max_streams(self) -> int:
        return (self.budget_bytes - 20) // 10


@dataclass(frozen=True, slots=True)
class FakeChange:
    superseded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FakeBlock:
    index: int
    frames: Frames
    started: tuple[str, ...]
    completed: tuple[str, ...]
    take: int = 0
    attempt: int = 0
    latents: torch.Tensor = field(default_factory=lambda: torch.zeros(LATENT_SHAPE))
    timings: FakeTimings = field(default_factory=FakeTimings)

    @property
    def kept(self) -> torch.Tensor:
        return self.latents

    @property
    def frames_sha256(self) -> str:
        return hashlib.sha256(self.frames.tobytes()).hexdigest()


@dataclass(slots=True)
class FakeStream:
    """Its whole state is the journal, what is to come, and the number of its next block."""

    seed: int
    log: list[JournalEvent]
    future: list[JournalEvent] = field(default_factory=list)
    block: int = 0
    opening: tuple[torch.Tensor, ...] = ()
    committed: int = 0
    closed: bool = False

    @property
    def next_block(self) -> int:
        return self.block

    @property
    def journal(self) -> Journal:
        return Journal(model="fake", seed=self.seed, fingerprint="fake", events=tuple(self.log))

    @property
    def agenda(self) -> Journal:
        return Journal(model="fake", seed=self.seed, fingerprint="fake", events=(*self.log, *self.future))

    @property
    def prompts(self) -> list[PromptEvent]:
        return [event for event in Timeline.of(self.log).events if isinstance(event, PromptEvent)]

    @property
    def text(self) -> str:
        return self.prompts[-1].prompts[0].text


@dataclass(frozen=True, slots=True)
class FakeCopy:
    block: int
    bytes: int = 10


class FakeEngine:
    """Counts what is done to it. `on_pass(stream, number)` is called before each pass and may raise; `spoilt` says
    what the guard is shown of a block's attempt."""

    def __init__(self, preset: FakePreset | None = None) -> None:
        self.preset = preset or FakePreset()
        self.on_pass: Callable[[FakeStream, int], None] = lambda _stream, _number: None
        self.spoilt: Callable[[FakeStream, int], Frames | None] = lambda _stream, _attempt: None
        self.passes = 0
        self.streams: list[FakeStream] = []
        self.copied = 0
        self.replayed: list[int] = []
        """Blocks at which streams were brought back without a copy."""

    @property
    def open(self) -> int:
        return sum(not stream.closed for stream in self.streams)

    def facts(self) -> FakeFacts:
        return FakeFacts()

    def plan_memory(self, stream: FakeStream, *, budget_bytes: int | None) -> FakeMemory:
        assert stream.block > 0
        return FakeMemory(budget_bytes=budget_bytes or 100)

    def read_prompt(self, text: str) -> FakeReading:
        """Reads TEXT_LENGTH characters, and does not know words in capitals."""
        words = text[:TEXT_LENGTH].split()
        return FakeReading(min(len(text), TEXT_LENGTH), tuple(word for word in words if word.isupper()))

    def picture_opening(self, data: bytes) -> Opening:
        """One block of as many zeros as the picture has bytes; an empty one is refused."""
        if not data:
            raise OpeningError("a picture must have bytes, this has none", field="picture")
        return Opening((torch.zeros(len(data)),))

    def adapters_of(self, choices: Sequence[AdapterChoice] | None) -> tuple[AdapterChoice, ...]:
        """Those of FakeFacts are known; the usual set is none."""
        for choice in choices or ():
            if choice.name not in FakeFacts().adapters:
                raise AdapterError(f"the fake knows no adapter {choice.name}", field="adapters")
        return tuple(choices or ())

    def start(
        self,
        prompts: Sequence[WeightedPrompt],
        *,
        seed: int,
        opening: Opening | None = None,
        adapters: Sequence[AdapterChoice] | None = None,
    ) -> FakeStream:
        _refuse(prompts)
        chosen = None if adapters is None else tuple(adapters)
        stream = FakeStream(seed, [PromptEvent(block=0, prompts=tuple(prompts), adapters=chosen)])
        stream.opening = opening.blocks if opening is not None else ()
        self.streams.append(stream)
        return stream

    def set_prompt(
        self,
        stream: FakeStream,
        prompts: Sequence[WeightedPrompt],
        *,
        mode: Mode,
        sink: Sink,
        transition_chunks: int,
        event_id: str,
        adapters: Sequence[AdapterChoice] | None = None,
    ) -> FakeChange:
        _refuse(prompts)
        replaced = [event for event in stream.future if isinstance(event, PromptEvent) and event.block == stream.block]
        stream.future = [event for event in stream.future if event not in replaced]
        chosen = None if adapters is None else tuple(adapters)
        event = PromptEvent(block=stream.block, prompts=tuple(prompts), mode=mode, event_id=event_id, adapters=chosen)
        stream.future.insert(0, event)
        return FakeChange(tuple(event.event_id for event in replaced))

    def step(
        self,
        stream: FakeStream,
        interrupted: Callable[[], bool] = lambda: False,
        *,
        check: Callable[[torch.Tensor, Frames], str | None] = lambda _latents, _frames: None,
    ) -> FakeBlock | None:
        assert not stream.closed, "a closed stream makes no block"
        for number in range(PASSES):
            if interrupted():
                return None
            self.on_pass(stream, number)
            self.passes += 1
        started = self._take_effect(stream)
        block = self._made(stream, check, started)
        stream.block += 1
        return block

    def _take_effect(self, stream: FakeStream) -> tuple[str, ...]:
        due = [event for event in stream.future if event.block <= stream.block]
        stream.log += due
        stream.future = stream.future[len(due) :]
        return tuple(event.event_id for event in due if isinstance(event, PromptEvent))

    def _made(
        self, stream: FakeStream, check: Callable[[torch.Tensor, Frames], str | None], started: tuple[str, ...]
    ) -> FakeBlock:
        cuts = [event.block for event in stream.prompts if event.mode == "cut"]
        count = FIRST_FRAMES if stream.block in (0, *cuts) else FRAMES_PER_BLOCK
        take, fault = take_at(stream.log, block=stream.block), ""
        for attempt in (0, 1):
            latents = fake_latents(stream.seed, stream.text, block=stream.block, take=take)
            spoilt = self.spoilt(stream, attempt)
            frames = fake_frames(stream.seed, stream.text, stream.block, count) if spoilt is None else spoilt
            found = check(latents, frames)
            if found is None:
                if attempt:
                    stream.log.append(AttemptEvent(block=stream.block, attempt=attempt))
                return FakeBlock(stream.block, frames, started, started, take=take, attempt=attempt, latents=latents)
            fault = found
        raise FaultyBlockError("faulty twice", code=f"guard_{fault}")

    def commit(self, stream: FakeStream) -> None:
        stream.committed = stream.block

    def save(self, stream: FakeStream) -> FakeCopy:
        self.copied += 1
        return FakeCopy(stream.block)

    def restore(
        self,
        journal: Journal,
        latents: LatentSource,
        block: int,
        *,
        snapshot: FakeCopy | None = None,
        opening: LatentSource | None = None,
    ) -> FakeStream:
        """Reads every block, as a replay of a real one may."""
        stream = FakeStream(journal.seed, list(journal.events))
        self.streams.append(stream)
        self._stand(stream, latents, block, snapshot)
        return stream

    def rewind(
        self,
        stream: FakeStream,
        latents: LatentSource,
        block: int,
        *,
        same_noise: bool = False,
        take: int | None = None,
    ) -> int:
        number = take_at(stream.log, block=block) if take is None else take
        stream.log.append(TakeEvent(block=block, take=number))
        stream.future = []
        self._stand(stream, latents, block, None)
        return number

    def take_back(
        self, stream: FakeStream, latents: LatentSource, block: int, *, snapshot: FakeCopy | None = None
    ) -> None:
        _, again = Timeline.of(stream.log).split(block)
        stream.log.append(TakeEvent(block=block, take=take_at(stream.log, block=block)))
        waiting = [*again, *stream.future]
        self._stand(stream, latents, block, snapshot)
        stream.future = waiting

    def _stand(self, stream: FakeStream, latents: LatentSource, block: int, snapshot: FakeCopy | None) -> None:
        if snapshot is None:
            self.replayed.append(block)
            for number in range(block):
                read_block(latents, number, shape=LATENT_SHAPE)
        else:
            assert snapshot.block == block
        past, future = Timeline.of(stream.log).split(block)
        if future:
            stream.log = list(past)
        stream.block, stream.future = block, list(future)

    def close(self, stream: FakeStream) -> None:
        assert not stream.closed, "a stream is closed once"
        stream.closed = True


def fake_latents(seed: int, text: str, *, block: int, take: int) -> torch.Tensor:
    key = hashlib.sha256(f"{seed}/{text}/{block}/{take}".encode()).digest()
    return torch.tensor(list(key[:16]), dtype=torch.float16).reshape(LATENT_SHAPE)


def fake_frames(seed: int, text: str, block: int, count: int) -> Frames:
    key = hashlib.sha256(f"{seed}/{text}/{block}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(key[:8], "big"))
    return generator.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def _refuse(prompts: Sequence[WeightedPrompt]) -> None:
    if prompts[0].text == "refuse":
        raise EngineError("the fake refuses", field="prompts.0.text", code="prompt_invalid")
