"""False alarms of the guard, and its share of a block's time: `python -m tests.bench.guard --blocks 10000`.

The demo model, streams of still, snowy and night takes with a change of prompt now and then. Every clean block that
the guard would have made again is an alarm. The last line is one JSON document; `least_difference` is how far two
blocks' latents were apart at least, in units of what counts as frozen.
"""

import argparse
import json
import time
from itertools import cycle

import torch

from models.journal import WeightedPrompt
from models.load import load_generator
from service.worker.engine import Frames
from service.worker.guard import FROZEN_DIFFERENCE, BlockGuard, difference

PROMPTS = (
    "a red ball rests in the snow by day",
    "a blue box rests in the city at night",
    "a white box rests in the snow at night",
    "a green ball rests over the sea at night",
    "a white ball rests in the snow by day",
)
TAKE_BLOCKS = 100
PROMPT_BLOCKS = 25


def run(blocks: int, *, threads: int = 1) -> dict[str, object]:
    generator = load_generator("demo", threads=threads)
    alarms: list[str] = []
    looked, made, least = 0.0, 0.0, float("inf")
    texts = cycle(PROMPTS)
    stream, guard, last = None, BlockGuard(), None

    def check(latents: torch.Tensor, frames: Frames) -> None:
        nonlocal looked
        began = time.perf_counter()
        found = guard.check(latents, frames)
        looked += time.perf_counter() - began
        if found is not None:
            alarms.append(found)

    for number in range(blocks):
        if number % TAKE_BLOCKS == 0 or stream is None:
            stream, guard, last = generator.start([WeightedPrompt(next(texts))], seed=number), BlockGuard(), None
        elif number % PROMPT_BLOCKS == 0:
            generator.set_prompt(stream, [WeightedPrompt(next(texts))], event_id="")
        began = time.perf_counter()
        block = generator.step(stream, check=check)
        generator.commit(stream)
        made += time.perf_counter() - began
        assert block is not None
        guard.accept(block.latents)
        if last is not None:
            least = min(least, difference(block.latents, last))
        last = block.latents
    return {
        "blocks": blocks,
        "alarms": alarms,
        "guard_percent": round(100 * looked / made, 2),
        "guard_ms": round(1000 * looked / blocks, 3),
        "least_difference": round(least / FROZEN_DIFFERENCE, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10000)
    options = parser.parse_args()
    print(json.dumps(run(options.blocks)))


if __name__ == "__main__":
    main()
