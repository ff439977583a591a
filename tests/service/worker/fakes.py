"""An engine without a model, a channel without sockets and a clock that tests move: fakes, not mocks.

`FakeEngine` has the interface of the real one (`service/worker/engine.py`); its picture is a function of seed, prompt
and block, so that two runs can be compared. `load_fake` is a loader for real worker processes: the preset's name
selects the fault that a test wants to see.
"""

import hashlib
import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.errors import EngineError, PresetError
from models.journal import WeightedPrompt
from models.load import LoadOptions
from service.channel import Arrival, ChannelLimits
from service.ipc import Command, Event, Facts, IpcError, MemoryPlan, Mode, Sink
from service.worker.engine import Frames
from service.worker.settings import LoadSettings, WorkerSettings

FPS = 8
FIRST_FRAMES = 2
FRAMES_PER_BLOCK = 4
PASSES = 4
SIZE = 16


class Clock:
    """Monotonic seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class FakeLicence:
    name: str = "none"


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
    parameters: int = 1
    cache_bytes_per_stream: int = 1


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
    timings: FakeTimings = field(default_factory=FakeTimings)

    @property
    def frames_sha256(self) -> str:
        return hashlib.sha256(self.frames.tobytes()).hexdigest()


@dataclass(slots=True)
class FakeJournal:
    events: list[tuple[int, str]]

    def to_json(self) -> str:
        return json.dumps({"events": self.events})


@dataclass(slots=True)
class FakePrompt:
    text: str
    event_id: str
    mode: Mode


@dataclass(slots=True)
class FakeStream:
    seed: int
    text: str
    journal: FakeJournal
    block: int = 0
    scene_block: int = 0
    waiting: FakePrompt | None = None
    committed: int = 0
    closed: bool = False


class FakeEngine:
    """Counts what is done to it; `on_pass(stream, number)` is called before each pass and may raise."""

    def __init__(self, preset: FakePreset | None = None) -> None:
        self.preset = preset or FakePreset()
        self.on_pass: Callable[[FakeStream, int], None] = lambda _stream, _number: None
        self.passes = 0
        self.streams: list[FakeStream] = []

    def facts(self) -> FakeFacts:
        return FakeFacts()

    def plan_memory(self, stream: FakeStream, *, budget_bytes: int | None) -> FakeMemory:
        assert stream.block > 0
        return FakeMemory(budget_bytes=budget_bytes or 100)

    def read_prompt(self, text: str) -> FakeReading:
        """Reads TEXT_LENGTH characters, and does not know words in capitals."""
        words = text[:TEXT_LENGTH].split()
        return FakeReading(min(len(text), TEXT_LENGTH), tuple(word for word in words if word.isupper()))

    def start(self, prompts: Sequence[WeightedPrompt], *, seed: int) -> FakeStream:
        _refuse(prompts)
        stream = FakeStream(seed, prompts[0].text, FakeJournal([(0, prompts[0].text)]))
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
    ) -> FakeChange:
        _refuse(prompts)
        replaced = () if stream.waiting is None else (stream.waiting.event_id,)
        stream.waiting = FakePrompt(prompts[0].text, event_id, mode)
        return FakeChange(replaced)

    def step(self, stream: FakeStream, interrupted: Callable[[], bool] = lambda: False) -> FakeBlock | None:
        assert not stream.closed, "a closed stream makes no block"
        for number in range(PASSES):
            if interrupted():
                return None
            self.on_pass(stream, number)
            self.passes += 1
        started: tuple[str, ...] = ()
        if stream.waiting is not None:
            started = (stream.waiting.event_id,)
            stream.text = stream.waiting.text
            stream.journal.events.append((stream.block, stream.text))
            stream.scene_block = 0 if stream.waiting.mode == "cut" else stream.scene_block
            stream.waiting = None
        count = FRAMES_PER_BLOCK if stream.scene_block else FIRST_FRAMES
        frames = fake_frames(stream.seed, stream.text, stream.block, count)
        block = FakeBlock(stream.block, frames, started, completed=started)
        stream.block, stream.scene_block = stream.block + 1, stream.scene_block + 1
        return block

    def commit(self, stream: FakeStream) -> None:
        stream.committed = stream.block

    def close(self, stream: FakeStream) -> None:
        assert not stream.closed, "a stream is closed once"
        stream.closed = True


def fake_frames(seed: int, text: str, block: int, count: int) -> Frames:
    key = hashlib.sha256(f"{seed}/{text}/{block}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(key[:8], "big"))
    return generator.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def _refuse(prompts: Sequence[WeightedPrompt]) -> None:
    if prompts[0].text == "refuse":
        raise EngineError("the fake refuses", field="prompts.0.text", code="prompt_invalid")


def load_fake(preset: str, options: LoadOptions) -> FakeEngine:
    """A loader. Presets: `fake`, and what goes wrong where `fake-...` says so."""
    if preset == "fake-exit":
        os._exit(42)
    if preset == "fake-raise":
        raise RuntimeError("no such device")
    if preset == "fake-sleep":
        time.sleep(600)
    if not preset.startswith("fake"):
        raise PresetError(f"expected a fake preset, got {preset!r}", field="preset")
    engine = FakeEngine(FakePreset(name=preset))
    engine.on_pass = _FAULTS.get(preset, _pass_quickly)
    return engine


def _pass_quickly(stream: FakeStream, number: int) -> None:
    time.sleep(0.002)


def _fault(stream: FakeStream, number: int) -> None:
    """The third block of a prompt that says so."""
    time.sleep(0.002)
    if stream.block == 3 and stream.text == "break":
        raise RuntimeError("CUDA error: device-side assert triggered")


def _hang(stream: FakeStream, number: int) -> None:
    if stream.block == 3 and stream.text == "hang":
        time.sleep(600)


def _die(stream: FakeStream, number: int) -> None:
    if stream.block == 3 and stream.text == "die":
        os.kill(os.getpid(), signal.SIGKILL)


_FAULTS: dict[str, Callable[[FakeStream, int], None]] = {
    "fake-fault": _fault,
    "fake-hang": _hang,
    "fake-die": _die,
}


FACTS = Facts(
    preset="fake",
    title="A fake",
    licence="none",
    width=SIZE,
    height=SIZE,
    fps=FPS,
    block_frames=3,
    frames_per_block=FRAMES_PER_BLOCK,
    first_block_frames=FIRST_FRAMES,
    fingerprint="fake",
    parameters=1,
    cache_bytes_per_stream=1,
    max_streams=4096,
    plan=MemoryPlan(
        budget_bytes=100,
        weights_bytes=1,
        workspace_bytes=1,
        cache_bytes=1,
        text_bytes=1,
        decoder_bytes=0,
        history_bytes=0,
        stream_bytes=2,
    ),
    prompt_characters=2000,
    threads=1,
    memory_bytes=1,
    warmup_ms=1.0,
    block_ms=1.0,
    suggested_prompts=("a fake",),
    pid=1,
)
LIMITS = ChannelLimits(messages=64, message_bytes=1 << 20, send_timeout=2.0, linger=1.0)
SETTINGS = WorkerSettings(
    folder="nowhere",
    channel=LIMITS,
    generator="tests.service.worker.fakes:load_fake",
    preset="fake",
    loading=LoadSettings(),
    threads=1,
    encoder_threads=2,
    memory_budget_bytes=None,
    max_sessions=4,
    interaction_queue=4,
    session_credits=4,
    lead_blocks=1.0,
    playback_patience=2.0,
    interrupts_per_block=2,
    heartbeat_interval=0.05,
    poll_interval=0.05,
    media_timeout=5.0,
    drain_timeout=5.0,
)


class FakeChannel:
    """The worker's end, with lists in place of sockets. `script` runs when the loop would wait for something."""

    def __init__(self, clock: Clock) -> None:
        self.sent: list[Event] = []
        self.broken = False
        self.waits: list[float] = []
        self.script: Callable[[float], None] = lambda _timeout: None
        self._clock = clock
        self._inbox: deque[Arrival] = deque()

    def put(self, *commands: Command) -> None:
        self._inbox.extend(Arrival(command, self._clock()) for command in commands)

    def send(self, event: Event) -> None:
        if self.broken:
            raise IpcError("the fake channel is broken")
        self.sent.append(event)

    def drain(self) -> list[Arrival]:
        arrivals = list(self._inbox)
        self._inbox.clear()
        return arrivals

    def wait(self, timeout: float) -> list[Arrival]:
        if not self._inbox:
            self.waits.append(timeout)
            self.script(timeout)
        return self.drain()

    def wake(self) -> None:
        """Nobody sleeps here."""
