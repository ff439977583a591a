"""Made 4 s ahead of the viewer, a new prompt is received as soon as without, and what is on screen stays: by a clock
that only the engine's passes, its copies and the waiting move, so that the figures are exact."""

import random
from dataclasses import dataclass, field
from statistics import mean, quantiles

import msgspec
import pytest

from service.ipc import Applied, Command, Credit, Discarded, Interact, Prompt, Shutdown
from service.worker.engine import Copy
from tests.service.worker.fake_engine import FPS, FRAMES_PER_BLOCK, FakeCopy, FakeEngine, FakeStream
from tests.service.worker.stage import Stage, start

PASS = 0.05
"""Four of them make a block of half a second of media."""
COPY = 0.005
"""Of a stream: a tenth of a pass."""
PROMPTS = 30


class TimedEngine(FakeEngine):
    """A fake whose copies take their time."""

    spent = 0.0

    def save(self, stream: FakeStream) -> Copy:  # type: ignore[override]
        self.spent += COPY
        return FakeCopy(stream.block)


@dataclass
class Screening:
    """One viewer who watches by the clock, and prompts at set moments, some of them in the middle of a pass."""

    buffer_seconds: float
    moments: list[float] = field(default_factory=list)
    shown: dict[str, float] = field(default_factory=dict)
    """Where the viewer was when each prompt came."""

    def play(self) -> None:
        self.engine = TimedEngine()
        self.stage = Stage(generator=self.engine, copy_bytes=1 << 20, interaction_queue=64, session_credits=64)
        self.zero, self.told = self.stage.clock.now, 0
        draw, now = random.Random(1), self.stage.clock.now + 2.0
        for _ in range(PROMPTS):
            now += draw.uniform(1.5, 3.0)
            self.moments.append(now)
        self.engine.on_pass = lambda _stream, _number: self.pass_time(PASS)
        self.stage.channel.script = self.rest
        begin = msgspec.structs.replace(start(credits=4096, pacing="realtime"), buffer_seconds=self.buffer_seconds)
        self.stage.channel.put(begin)
        self.stage.loop.run()

    def pass_time(self, seconds: float) -> None:
        """What was made has left before the clock moves; what comes meanwhile comes at its own moment."""
        stage = self.stage
        stage.wait_for_media()
        for chunk in stage.chunks()[self.told :]:
            self.told += 1
            self.zero = max(self.zero, stage.clock.now - chunk.pts)
        ends_at = stage.clock.now + seconds + self.engine.spent
        self.engine.spent = 0.0
        while self.moments and self.moments[0] <= ends_at:
            at, name = self.moments.pop(0), f"e{len(self.moments)}"
            self.shown[name] = at - self.zero
            stage.channel.put(Interact(session="s", event_id=name, prompts=(Prompt(name),)), at=at)
        stage.clock.now = ends_at

    def rest(self, timeout: float) -> None:
        if len(self.stage.of(Applied)) == PROMPTS:
            self.stage.channel.put(Shutdown())
        else:
            self.pass_time(max(timeout, 0.001))

    def latencies(self) -> list[float]:
        return [event.latency_ms for event in self.stage.of(Applied) if isinstance(event, Applied)]


@pytest.fixture(scope="module")
def without() -> Screening:
    screening = Screening(0.0)
    screening.play()
    return screening


@pytest.fixture(scope="module")
def ahead() -> Screening:
    screening = Screening(4.0)
    screening.play()
    return screening


def test_a_prompt_is_received_as_soon_as_without_within_a_tenth(without: Screening, ahead: Screening) -> None:
    assert len(without.latencies()) == len(ahead.latencies()) == PROMPTS
    for figure in (mean, lambda values: quantiles(values, n=20)[-1]):
        assert figure(ahead.latencies()) <= 1.1 * figure(without.latencies())


def test_without_a_buffer_a_prompt_waits_for_no_due_block(without: Screening) -> None:
    """At most one pass, whose end it waits for, and a block."""
    assert max(without.latencies()) <= 1000 * 5 * PASS + 1
    assert without.stage.of(Discarded) == []


def test_it_is_made_ahead_and_what_is_on_screen_is_not_touched(ahead: Screening) -> None:
    leads = [chunk.lead_seconds for chunk in ahead.stage.chunks()]
    assert 4.0 <= max(leads) <= 4.0 + FRAMES_PER_BLOCK / FPS
    pts = {chunk.sequence: chunk.pts for chunk in ahead.stage.chunks()}
    applied = {event.sequence: event.event_id for event in ahead.stage.of(Applied) if isinstance(event, Applied)}
    discarded = [event for event in ahead.stage.of(Discarded) if isinstance(event, Discarded)]
    assert len(discarded) > PROMPTS * 0.9
    for event in discarded:
        assert event.reason == "prompt"
        assert pts[event.from_sequence] >= ahead.shown[applied[event.next_sequence]]
        assert pts[event.next_sequence] == pts[event.from_sequence]


def test_a_flood_of_prompts_makes_no_lead() -> None:
    stage = Stage(session_credits=64, interaction_queue=64)
    acts: list[list[Command]] = [[start(credits=64, pacing="realtime")]]
    acts += [[Interact(session="s", event_id=f"e{n}", prompts=(Prompt("q"),)), Credit(session="s")] for n in range(8)]
    stage.play(*acts)
    assert max(chunk.lead_seconds for chunk in stage.chunks()) <= 3 * FRAMES_PER_BLOCK / FPS
