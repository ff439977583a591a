"""Frames a second of an engine on one thread, decoding included: what a take costs here and now.

Knows the generator. A figure of a clock: it says what else the machine was doing as much as what the engine needs.
"""

import time
from dataclasses import dataclass
from typing import Final

from models.generator import Generator
from models.journal import WeightedPrompt

WARM_UP: Final = 5
BLOCKS: Final = 40
SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one thread."""

    frames_per_second: float
    blocks: int


def measure_speed(generator: Generator, *, blocks: int = BLOCKS) -> Speed:
    """Make blocks as fast as it goes."""
    stream = generator.start([WeightedPrompt(generator.preset.suggested_prompts[0])], seed=SEED)
    for _ in range(WARM_UP):
        generator.step(stream)
    generator.commit(stream)
    frames, begun = 0, time.perf_counter()
    for _ in range(blocks):
        block = generator.step(stream)
        assert block is not None, "nobody interrupts"
        frames += len(block.frames)
        generator.commit(stream)
    elapsed = time.perf_counter() - begun
    generator.close(stream)
    return Speed(round(frames / elapsed, 1), blocks)
