"""Random schedules of everything that can be asked of sessions, played on a real small engine, and what has to hold.

A schedule is a tuple of steps out of a few numbers, so that hypothesis can draw and shrink it. `play` plays it with
prompts, blends, cuts, rewinds, forks, pauses, parkings and restarts of the worker, and checks each session's record.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from hypothesis import strategies as st

from models.generator import Generator
from service.ipc import Control, Credit, Interact, Mode, Pacing, Prompt, Rewind, Start
from tests.service.worker.directed import PROMPTS, Direction

Kind = Literal[
    "prompt", "blend", "cut", "flush", "keep", "rewind", "again", "fork", "pause", "resume", "watch", "restart"
]
Option = st.integers(min_value=0, max_value=5)


@dataclass(frozen=True, slots=True)
class Step:
    """`session` and `amount` are taken modulo what there is."""

    kind: Kind
    session: int
    amount: int


STEPS = st.builds(Step, kind=st.sampled_from(get_args(Kind)), session=Option, amount=Option)
SCHEDULES = st.lists(STEPS, min_size=3, max_size=10).map(tuple)


@dataclass(slots=True)
class Play:
    direction: Direction
    takes: int = 0
    events: int = 0
    forks: list[Start] = field(default_factory=list)
    paused: set[str] = field(default_factory=set)

    def act(self, step: Step) -> Callable[[], None]:
        return lambda: self._act(step)

    def _act(self, step: Step) -> None:
        direction = self.direction
        names = sorted(direction.records)
        name = names[step.session % len(names)]
        made = len(direction.records[name].course)
        channel = direction.stage.channel
        match step.kind:
            case "prompt" | "blend" | "cut" | "flush" | "keep":
                self._prompt(name, step)
            case "rewind" | "again":
                self.takes += 1
                take = self.takes if step.kind == "rewind" else None
                channel.put(Rewind(session=name, block=step.amount % (made + 1), take=take))
            case "fork":
                self._fork(name, step.amount % (made + 1))
            case "pause" | "resume":
                channel.put(Control(session=name, action=step.kind))
                (self.paused.add if step.kind == "pause" else self.paused.discard)(name)
            case "watch" | "restart":
                direction.stage.clock.now += 0.3 * step.amount
        for one in direction.records:
            channel.put(Credit(session=one, chunks=1))

    def _prompt(self, name: str, step: Step) -> None:
        mode: Mode = "recache" if step.kind in ("prompt", "blend") else step.kind  # type: ignore[assignment]
        self.events += 1
        self.direction.stage.channel.put(
            Interact(
                session=name,
                event_id=f"e{self.events}",
                prompts=(Prompt(PROMPTS[step.amount % len(PROMPTS)]),),
                mode=mode,
                sink="refresh" if step.amount % 2 else "keep",
                transition_chunks=2 + step.amount if step.kind == "blend" else 0,
            )
        )

    def _fork(self, name: str, block: int) -> None:
        direction = self.direction
        if len(direction.records) >= 4 or not direction.records[name].rows:
            return
        self.takes += 1
        fork = f"fork{len(direction.records)}"
        made = direction.records[name].fork(fork, block, take=self.takes, store=direction.store)
        direction.records[fork] = made
        direction.stage.channel.put(made.start(pacing="none"))


def play(schedule: tuple[Step, ...], *, store: Path, generator: Generator, places: int, copy_bytes: int) -> Direction:
    """Two sessions, one watched by the clock and made ahead, one as fast as it goes; a restart is another worker."""
    direction = Direction(store, places=places, copy_bytes=copy_bytes, generator=generator)
    run = Play(direction)
    watched: tuple[tuple[str, int, Pacing, float], ...] = (("paced", 3, "realtime", 2.0), ("free", 4, "none", 0.0))
    starts = [
        direction.begin(
            Start(
                session=name,
                prompts=(Prompt("a red ball"),),
                seed=seed,
                credits=2,
                format="raw",
                pacing=pacing,
                buffer_seconds=buffer,
            )
        )
        for name, seed, pacing, buffer in watched
    ]
    lives: list[list[Step]] = [[]]
    for step in schedule:
        lives[-1].append(step)
        if step.kind == "restart":
            lives.append([])
    for life, steps in enumerate(lives):
        if life:
            starts = [going_on(direction, name) for name in sorted(direction.records)]
        direction.play([direction.say(*starts), *map(run.act, steps)])
    direction.check()
    return direction


def going_on(direction: Direction, name: str) -> Start:
    """A session that never made a block is begun again; one that was to begin a take begins it."""
    record = direction.records[name]
    pacing = {"pacing": "realtime", "buffer_seconds": 2.0} if name == "paced" else {"pacing": "none"}
    return record.start(take=record.next_take, **pacing)
