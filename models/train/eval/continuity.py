"""Whether a take is one shot: jumps at the borders of blocks against those inside them, and cuts that nobody asked for.

Knows records; measures every preset, as it reads pixels only. A border that shows is a jump larger than the median jump
inside the blocks around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.train.eval.cases import cases
from models.train.eval.drift import suggested
from models.train.eval.pixels import find_cuts
from models.train.eval.runner import Runner
from models.train.eval.takes import Take, TakeRecord

BLOCKS: Final = 12


@dataclass(frozen=True, slots=True)
class Continuity:
    """Over all takes."""

    takes: int
    borders: int
    inside: float
    """Median jump from frame to frame inside blocks, of 255."""
    border: float
    """Median jump at the borders of blocks."""
    border_ratio: float
    border_p95: float
    cuts: int
    """Jumps that the cut detector takes for cuts, all at places where no prompt changed."""


def measure_continuity(runner: Runner, *, takes: int, blocks: int = BLOCKS) -> Continuity:
    """Takes without a prompt change."""
    if runner.source.draws_the_world:
        prompts = [(case.prompt, case.seed) for case in cases(takes)]
    else:
        prompts = suggested(runner.source.resolve(), takes)
    filmed = [Take(prompt=prompt, seed=seed, blocks=blocks, read_every=6) for prompt, seed in prompts]
    return continuity_of([record for (record,) in runner.run(filmed, title="continuity")])


def continuity_of(records: Sequence[TakeRecord]) -> Continuity:
    """The figures of takes."""
    border: list[float] = []
    inside: list[float] = []
    for record in records:
        starts = set(record.starts)
        border += [record.jumps[start] for start in record.starts[1:]]
        inside += [jump for frame, jump in enumerate(record.jumps) if frame not in starts]
    middle = float(np.median(inside))
    return Continuity(
        takes=len(records),
        borders=len(border),
        inside=middle,
        border=float(np.median(border)),
        border_ratio=float(np.median(border)) / max(middle, 1e-9),
        border_p95=float(np.quantile(border, 0.95)),
        cuts=sum(len(find_cuts(record.jumps)) for record in records),
    )
