"""The same prompts under other conditions: 1 to 8 steps, other windows and sinks, int8, and no text at all.

Knows what to vary and which parts measure it; knows nothing of how.
"""

from dataclasses import dataclass
from typing import Final

from models.quantize import Quantize
from models.train.eval.adherence import Adherence, measure_adherence
from models.train.eval.cases import calm_cases
from models.train.eval.drift import DriftFigures, drift_of, long_takes
from models.train.eval.engines import Variant
from models.train.eval.runner import Runner
from models.train.eval.speed import Speed, measure_speed

STEPS: Final = tuple(range(1, 9))
WINDOWS: Final = ((6, 3), (9, 3), (12, 3), (18, 3), (24, 3), (9, 0), (12, 0), (24, 0))
"""Latent frames of window and sink."""
WINDOW_SECONDS: Final = 30.0
PRECISIONS: Final[tuple[Quantize, ...]] = ("none", "int8")


@dataclass(frozen=True, slots=True)
class Precision:
    """Adherence and cost with the weights held in one way."""

    quantize: Quantize
    weight_bytes: int
    """Of the transformer."""
    speed: Speed
    adherence: Adherence


@dataclass(frozen=True, slots=True)
class Steps:
    """Adherence at one number of steps."""

    steps: int
    adherence: Adherence


def measure_steps(runner: Runner, *, clips: int) -> list[Steps]:
    """Adherence at 1 to 8 steps."""
    found = []
    for steps in STEPS:
        variant = Variant(steps=steps)
        found.append(Steps(steps, measure_adherence(runner, clips=clips, variant=variant, title=variant.name)))
    return found


def measure_windows(runner: Runner, *, takes: int, seconds: float = WINDOW_SECONDS) -> list[DriftFigures]:
    """Short drift under other windows and sinks."""
    fps = runner.source.resolve().fps
    chosen = calm_cases(takes)
    filmed = long_takes(runner, [(case.prompt, case.seed) for case in chosen], seconds=seconds)
    found = []
    for window, sink in WINDOWS:
        variant = Variant(window_frames=window, sink_frames=sink)
        records = [record for (record,) in runner.run(filmed, variant=variant, title=variant.name)]
        found.append(drift_of(records, chosen, engine=variant.name, fps=fps))
    return found


def measure_precision(runner: Runner, *, clips: int) -> list[Precision]:
    """The same takes in full precision and in int8."""
    found = []
    for kind in PRECISIONS:
        variant = Variant(quantize=kind)
        adherence = measure_adherence(runner, clips=clips, variant=variant, title=f"precision, {kind}")
        engine = runner.engine(variant)
        found.append(Precision(kind, engine.facts().weight_bytes, measure_speed(engine), adherence))
    return found


def measure_deaf(runner: Runner, *, clips: int) -> Adherence:
    """Adherence with the text cut off: it must fall to chance."""
    return measure_adherence(runner, clips=clips, variant=Variant(deaf=True), title="text cut off")
