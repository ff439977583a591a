"""What minutes do to a take: how far what stands still moves away, and whether the prompt is still followed.

Knows takes and records. Two windows of the same length are compared, with sink and without. What stands still is the
sky and the skyline: the prompts' objects rest or sway below them. Of a model whose pictures no detector knows it is the
half of the pixels that changes least at the beginning; only drift, sharpness and saturation are then told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from models.presets import Preset
from models.train.eval.cases import Case, calm_cases
from models.train.eval.engines import Variant
from models.train.eval.runner import SERVED, Runner
from models.train.eval.takes import Take, TakeRecord
from models.train.scenery import HORIZON
from models.train.world import COLOUR, SCENE, SHAPE, TIME

SECONDS: Final = 240.0
END_SECONDS: Final = 10.0
MINUTE: Final = 60.0
WIDTH_SECONDS: Final = 3.0
"""Figures at a time are means over this long before it."""
WORLD_READ_EVERY: Final = 6
ATTRIBUTES: Final = {"scene": SCENE, "time": TIME, "skyline": SCENE, "colour": COLOUR, "shape": SHAPE}


@dataclass(frozen=True, slots=True)
class Ends:
    """Share of the frames that are right, at the beginning and at the end."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class DriftFigures:
    """One engine's long takes."""

    engine: str
    takes: int
    seconds: float
    drift_minute: float
    """Of 255, after 60 s (or at the end of a shorter take); of the mean picture of a block."""
    drift_end: float
    worst_end: float
    """The drift of the take that drifts most."""
    distance_end: float
    """The same of single frames: grain included."""
    sharpness: Ends
    """Mean Laplacian, of 255."""
    saturation: Ends
    right: dict[str, Ends]
    """For what the detectors read; empty where there are none."""
    collapsed: int
    """Takes whose scene is wrong in most frames of the last 10 s."""
    at_seconds: list[float]
    """The ends of the blocks that the series are of."""
    drift_series: list[float]
    sharpness_series: list[float]


@dataclass(frozen=True, slots=True)
class Drift:
    """With and without sink."""

    engines: list[DriftFigures]


def pair_of(preset: Preset) -> tuple[Variant, ...]:
    """As served, and with the sink's room given to the past instead (or the other way round)."""
    window = preset.window
    other = 0 if window.sink_frames else window.block_frames
    return (SERVED, Variant(sink_frames=other)) if window.window_frames else (SERVED,)


def long_takes(runner: Runner, prompts: Sequence[tuple[str, int]], *, seconds: float) -> list[Take]:
    """Takes of (prompt, seed), `seconds` long."""
    preset = runner.source.resolve()
    blocks = max(5, round(seconds * preset.fps / preset.frames_per_block))
    rows = int(HORIZON * preset.height) if runner.source.draws_the_world else 0
    return [
        Take(prompt=prompt, seed=seed, blocks=blocks, read_every=WORLD_READ_EVERY, still_rows=rows)
        for prompt, seed in prompts
    ]


def measure_drift(runner: Runner, *, takes: int, seconds: float = SECONDS) -> Drift:
    """Long takes of each engine."""
    preset = runner.source.resolve()
    chosen = calm_cases(takes) if runner.source.draws_the_world else None
    prompts = [(case.prompt, case.seed) for case in chosen] if chosen else suggested(preset, takes)
    filmed = long_takes(runner, prompts, seconds=seconds)
    engines = []
    for variant in pair_of(preset):
        records = runner.run(filmed, variant=variant, title=f"drift, {variant.name}")
        engines.append(drift_of([record for (record,) in records], chosen, engine=variant.name, fps=preset.fps))
    return Drift(engines)


def suggested(preset: Preset, count: int) -> list[tuple[str, int]]:
    """(prompt, seed) of a preset whose world is not known: the prompts it suggests, in turn."""
    prompts = preset.suggested_prompts
    return [(prompts[index % len(prompts)], 1000 + index) for index in range(count)]


def drift_of(records: Sequence[TakeRecord], chosen: Sequence[Case] | None, *, engine: str, fps: int) -> DriftFigures:
    """The figures of one engine."""
    blocks = min(len(record.starts) for record in records)
    starts = records[0].starts
    frames = len(records[0].jumps)
    ends = [(starts[block + 1] if block + 1 < len(starts) else frames) / fps for block in range(blocks)]
    drift = _mean_series([record.drift for record in records], blocks)
    sharpness = _mean_series([record.sharpness for record in records], blocks)
    minute = min(MINUTE, ends[-1])
    return DriftFigures(
        engine=engine,
        takes=len(records),
        seconds=round(frames / fps, 2),
        drift_minute=_at(drift, ends, minute),
        drift_end=_at(drift, ends, ends[-1]),
        worst_end=max(_at(record.drift, ends, ends[-1]) for record in records),
        distance_end=_at(_mean_series([record.distance for record in records], blocks), ends, ends[-1]),
        sharpness=_ends(sharpness, ends),
        saturation=_ends(_mean_series([record.saturation for record in records], blocks), ends),
        right=_right(records, chosen, fps) if chosen else {},
        collapsed=_collapsed(records, chosen, fps) if chosen else 0,
        at_seconds=[round(end, 3) for end in ends],
        drift_series=[round(value, 3) for value in drift],
        sharpness_series=[round(value, 3) for value in sharpness],
    )


def _mean_series(series: Sequence[Sequence[float]], length: int) -> list[float]:
    return [sum(one[index] for one in series) / len(series) for index in range(length)]


def _at(series: Sequence[float], ends: Sequence[float], seconds: float) -> float:
    near = [value for value, end in zip(series, ends, strict=True) if seconds - WIDTH_SECONDS < end <= seconds]
    return sum(near) / len(near)


def _ends(series: Sequence[float], ends: Sequence[float]) -> Ends:
    """Over the first and the last 10 s, or as much of them as there is; block 0 stands for itself and is left out."""
    first = [value for value, end in zip(series, ends, strict=True) if ends[0] < end <= END_SECONDS]
    last = [value for value, end in zip(series, ends, strict=True) if end > ends[-1] - END_SECONDS]
    return Ends(sum(first) / len(first), sum(last) / len(last))


def _right(records: Sequence[TakeRecord], chosen: Sequence[Case], fps: int) -> dict[str, Ends]:
    return {name: Ends(*_both_ends(records, chosen, name, fps)) for name in ATTRIBUTES}


def _both_ends(records: Sequence[TakeRecord], chosen: Sequence[Case], name: str, fps: int) -> tuple[float, float]:
    first, last = zip(*(_right_ends(*pair, name, fps) for pair in zip(records, chosen, strict=True)), strict=True)
    return sum(first) / len(first), sum(last) / len(last)


def _right_ends(record: TakeRecord, case: Case, name: str, fps: int) -> tuple[float, float]:
    """Share of right frames in the first and in the last 10 s of a take."""
    end = len(record.jumps) / fps

    def share(inside: Callable[[float], bool]) -> float:
        found: tuple[int, ...] = getattr(record, name)
        seen = [
            one == case.truth[ATTRIBUTES[name]]
            for frame, one in zip(record.read, found, strict=True)
            if inside(frame / fps)
        ]
        return sum(seen) / len(seen)

    return share(lambda at: at < END_SECONDS), share(lambda at: at >= end - END_SECONDS)


def _collapsed(records: Sequence[TakeRecord], chosen: Sequence[Case], fps: int) -> int:
    both = zip(records, chosen, strict=True)
    return sum(_right_ends(record, case, "scene", fps)[1] < 0.5 for record, case in both)
