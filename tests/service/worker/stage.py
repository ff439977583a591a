"""A loop over fakes, and the commands that tests of the loop and of its table play on it."""

import functools
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from service.ipc import (
    Chunk,
    Command,
    Event,
    Facts,
    Interact,
    Mode,
    Pacing,
    Prompt,
    SessionEvent,
    Shutdown,
    Start,
)
from service.worker.loop import Loop
from service.worker.settings import WorkerSettings
from tests.service.worker.fake_engine import FakeEngine, FakeStream
from tests.service.worker.fakes import FACTS, SETTINGS, Clock, FakeChannel

PATIENCE = 60.0
"""A guard against a hang."""


class Stage:
    """A loop over fakes. Whenever it would rest, what was made has left, and the next act is played; then it ends.

    `places`: streams that memory is for. Its folder goes with it. `generator`: another engine than the fake one.
    """

    def __init__(
        self,
        *,
        places: int = 4096,
        store: Path | None = None,
        generator: Any = None,
        facts: Facts = FACTS,
        **changes: object,
    ) -> None:
        self.store = Path(tempfile.mkdtemp()) if store is None else store
        if store is None:
            weakref.finalize(self, shutil.rmtree, self.store, ignore_errors=True)
        self.clock = Clock()
        self.engine = FakeEngine()
        self.channel = FakeChannel(self.clock)
        settings: WorkerSettings = msgspec.structs.replace(SETTINGS, store_dir=str(self.store), **changes)
        facts = msgspec.structs.replace(facts, max_streams=places)
        self.loop = Loop(generator or self.engine, facts, settings=settings, channel=self.channel, clock=self.clock)
        self.channel.script = self._rest
        self._acts: list[Callable[[], None]] = []

    def play(self, *acts: Sequence[Command] | Callable[[], None]) -> list[Event]:
        for act in acts:
            self._acts.append(act if callable(act) else functools.partial(self.channel.put, *act))
        self.loop.run()
        return self.channel.sent

    def of(self, kind: type[SessionEvent], session: str = "") -> list[SessionEvent]:
        events = [event for event in self.channel.sent if isinstance(event, kind)]
        return [event for event in events if session in ("", event.session)]

    def chunks(self, session: str = "") -> list[Chunk]:
        return [event for event in self.of(Chunk, session) if isinstance(event, Chunk)]

    def wait_for_media(self) -> None:
        """Until every block that was made has left or failed, and the loop was told."""
        ends_at = time.monotonic() + PATIENCE
        while len(self.channel.wakes) < self.loop.progress.blocks and time.monotonic() < ends_at:
            time.sleep(0.001)

    def _rest(self, timeout: float) -> None:
        self.wait_for_media()
        if self._acts:
            self._acts.pop(0)()
        else:
            self.channel.put(Shutdown())


def start(
    session: str = "s", *, text: str = "p", credits: int = 3, pacing: Pacing = "none", max_seconds: float | None = None
) -> Start:
    return Start(
        session=session, prompts=(Prompt(text),), seed=7, credits=credits, pacing=pacing, max_seconds=max_seconds,
        format="raw",
    )  # fmt: skip


def interact(
    event_id: str, *, session: str = "s", text: str = "q", mode: Mode = "recache", at: float | None = None
) -> Interact:
    return Interact(session=session, event_id=event_id, prompts=(Prompt(text),), mode=mode, at=at)


def at_pass(stage: Stage, block: int, number: int, action: Callable[[], None]) -> None:
    """Do something once, before this pass of this block."""
    left = [action]

    def on_pass(stream: FakeStream, pass_number: int) -> None:
        if left and (stream.block, pass_number) == (block, number):
            left.pop()()

    stage.engine.on_pass = on_pass
