"""An evaluation as a whole: its parts by name, in order, and the report that they fill in.

Knows every part and how large each is for a number of clips; knows nothing of command lines, tables or plots. Parts
need nothing of each other, so that any of them can be left out, run later or run again.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from models.errors import ConfigError
from models.train.eval.ablation import Ablation, measure_ablation
from models.train.eval.adherence import Adherence, measure_adherence
from models.train.eval.continuity import Continuity, measure_continuity
from models.train.eval.drift import SECONDS, Drift, DriftFigures, measure_drift
from models.train.eval.runner import Runner
from models.train.eval.series import (
    Precision,
    Steps,
    measure_deaf,
    measure_precision,
    measure_steps,
    measure_windows,
)
from models.train.eval.speed import Speed, measure_speed
from models.train.eval.switches import Switches, measure_switches
from models.train.eval.trust import Trust, measure_trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was measured; None where a part was left out."""

    preset: str
    fingerprint: str
    clips: int
    steps: int
    trust: Trust | None = None
    adherence: Adherence | None = None
    deaf: Adherence | None = None
    switches: Switches | None = None
    drift: Drift | None = None
    continuity: Continuity | None = None
    steps_series: list[Steps] | None = None
    windows: list[DriftFigures] | None = None
    precision: list[Precision] | None = None
    ablation: list[Ablation] | None = None
    speed: Speed | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many takes each part films: all from one number, so that a trial run is small throughout."""

    clips: int
    seconds: float = SECONDS
    """Of the long takes."""

    def part(self, share: int) -> int:
        """One of `share` clips; at least two."""
        return max(2, self.clips // share)


def _trust(runner: Runner, sizes: Sizes) -> Trust:
    world = runner.world
    assert world is not None, "asked for only where there are detectors"
    return measure_trust(world.detectors, world.renderer, codec=world.codec, clips=sizes.part(4))


def _speed(runner: Runner, sizes: Sizes) -> Speed:
    del sizes  # a clock needs no more blocks than it needs
    return measure_speed(runner.engine())


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an evaluation."""

    name: str
    fills: str
    """The field of the report."""
    measure: Callable[[Runner, Sizes], object]
    any_preset: bool = False
    """Whether it needs no detectors."""


PRECISION: Final = "precision"
"""The one part that needs a package of an extra."""
PARTS: Final = (
    Part("detectors", "trust", _trust),
    Part("adherence", "adherence", lambda runner, sizes: measure_adherence(runner, clips=sizes.clips)),
    Part("deaf", "deaf", lambda runner, sizes: measure_deaf(runner, clips=sizes.part(8))),
    Part("switches", "switches", lambda runner, sizes: measure_switches(runner, clips=sizes.part(4))),
    Part("speed", "speed", _speed, any_preset=True),
    Part("continuity", "continuity", lambda run, sizes: measure_continuity(run, takes=sizes.part(32)), any_preset=True),
    Part(
        "drift",
        "drift",
        lambda run, sizes: measure_drift(run, takes=sizes.part(128), seconds=sizes.seconds),
        any_preset=True,
    ),
    Part("steps", "steps_series", lambda runner, sizes: measure_steps(runner, clips=sizes.part(8))),
    Part("windows", "windows", lambda runner, sizes: measure_windows(runner, takes=sizes.part(128))),
    Part(PRECISION, "precision", lambda runner, sizes: measure_precision(runner, clips=sizes.part(8))),
    Part("ablation", "ablation", lambda runner, sizes: measure_ablation(runner, clips=sizes.part(16))),
)


def parts_for(runner: Runner, only: Sequence[str]) -> list[Part]:
    """The parts that apply to the preset, or those of them that are named. Raises ConfigError for one that does not."""
    known = [part for part in PARTS if part.any_preset or runner.detectors is not None]
    names = [part.name for part in known]
    for name in only:
        if name not in names:
            message = f"only: expected parts out of {', '.join(names)} for {runner.source.preset}, got {name!r}"
            raise ConfigError(message, field="only")
    return [part for part in known if not only or part.name in only]


def measure(runner: Runner, sizes: Sizes, *, parts: Sequence[Part]) -> Iterator[Report]:
    """Run the parts; after each of them the report so far."""
    generator = runner.engine()
    report = Report(
        preset=runner.source.preset,
        fingerprint=generator.facts().fingerprint,
        clips=sizes.clips,
        steps=len(generator.preset.sampler.steps),
    )
    for part in parts:
        measured: dict[str, Any] = {part.fills: part.measure(runner, sizes)}
        report = replace(report, **measured)
        yield report
