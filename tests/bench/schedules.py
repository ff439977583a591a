"""Random schedules of sessions, replayed: `python -m tests.bench.schedules --schedules 1000`.

Prompts, blends, cuts, rewinds, forks, pauses, parkings and restarts of the worker on a real small engine; each
session's journal has to make the same frames again, and files and allocated memory have to return to where they were.
The last line is one JSON document.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import get_args

import torch

from tests.bench.allocated import allocated_bytes, one_arena
from tests.models.engines import make_generator
from tests.service.worker.schedules import Kind, Step, play

WARM = 10
"""Schedules before memory is looked at first."""


def run(count: int, *, seed: int) -> dict[str, float]:
    draw, generator, blocks, first = random.Random(seed), make_generator(), 0, 0
    for number in range(count):
        kinds = get_args(Kind)
        schedule = tuple(
            Step(draw.choice(kinds), draw.randrange(6), draw.randrange(6)) for _ in range(draw.randrange(3, 13))
        )
        with tempfile.TemporaryDirectory() as folder:
            played = play(
                schedule,
                store=Path(folder),
                generator=generator,
                places=draw.randrange(1, 4),
                copy_bytes=draw.choice((0, 30_000, 1 << 20)),
            )
            blocks += sum(len(record.rows) for record in played.records.values())
        if number == WARM:
            first = allocated_bytes()
        if (number + 1) % 50 == 0:
            sys.stderr.write(f"{number + 1} of {count} schedules, {blocks} blocks\n")
    return {"schedules": count, "blocks": blocks, "grown_mib": round((allocated_bytes() - first) / 2**20, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    one_arena()
    torch.set_num_threads(1)  # passes of a few microseconds: a second thread is only waited for
    print(json.dumps(run(options.schedules, seed=options.seed)))


if __name__ == "__main__":
    main()
