"""Counter-based noise: what a block is made from is a function of five numbers, computed again when needed.

Philox keyed by (seed, take) with the counter (block, attempt, step): drawn on the host in float32, the same on every
device, and never stored. Knows no tensors' fate, no schedule.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.errors import SeedError

MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseKey:
    """One draw. Step 0 is the noise a block begins from; step i + 1 is mixed in after denoising step i."""

    seed: int
    take: int
    block: int
    attempt: int
    step: int


def check_seed(seed: int) -> None:
    """Raise SeedError unless 0 <= seed <= 2^63 - 1. Seeds come from callers and files: the type is checked, too."""
    if type(seed) is not int or not 0 <= seed <= MAX_SEED:
        raise SeedError(f"seed must be a whole number in 0..{MAX_SEED}, not {seed!r}", field="seed")


def draw_noise(key: NoiseKey, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 noise on the host."""
    # The generator counts up in the lowest word, so draws of different keys never meet.
    bits = np.random.Philox(key=[key.seed, key.take], counter=[0, key.step, key.attempt, key.block])
    return torch.from_numpy(np.random.Generator(bits).standard_normal(shape, dtype=np.float32))
