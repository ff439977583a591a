"""A loader of fake engines for real worker processes, a channel without sockets and a clock that tests move.

`load_fake` is a loader: the preset's name selects the fault that a test wants to see.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Callable

from models.errors import PresetError
from models.load import LoadOptions
from service.channel import Arrival, ChannelLimits
from service.ipc import Command, Event, Facts, IpcError, MemoryPlan
from service.worker.settings import LoadSettings, WorkerSettings
from tests.service.worker.fake_engine import (
    FIRST_FRAMES,
    FPS,
    FRAMES_PER_BLOCK,
    SIZE,
    FakeEngine,
    FakePreset,
    FakeStream,
)


class Clock:
    """Monotonic seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


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
    device="none",
    dtype="none",
    attention="none",
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
        host_budget_bytes=1000,
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
    store_dir="nowhere",
    max_sessions=4,
    max_jobs=1,
    copy_bytes=None,
    turn_blocks=2,
    late_bytes=1 << 20,
    guard=True,
    interaction_queue=4,
    session_credits=4,
    lead_blocks=1.0,
    playback_patience=2.0,
    unseen_margin=0.0,
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
        self.wakes: list[float] = []
        """When encoder threads had reported: once for each block."""
        self.script: Callable[[float], None] = lambda _timeout: None
        self._clock = clock
        self._inbox: deque[Arrival] = deque()

    def put(self, *commands: Command, at: float | None = None) -> None:
        self._inbox.extend(Arrival(command, self._clock() if at is None else at) for command in commands)

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
        self.wakes.append(self._clock())
