"""Pictures from a model in training: first blocks for many prompts at once, and contact sheets of them.

Knows the bundle and the sampler's `denoise_block`; the product's own path (cache, streams) is `models.generator`,
which the evaluation uses. Deterministic in its seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cache.text_kv import TextKeysValues
from models.attention import FullAttention
from models.config import SamplerConfig
from models.sampler import denoise_block, make_schedule
from models.text import PAD_TOKEN
from models.train.bundle import Bundle
from models.train.codec import decode_latents
from models.train.losses import predict_x0
from models.train.pool import BLOCK_FRAMES

FOUR_STEPS: Final = (1000, 750, 500, 250)
TOGETHER: Final = 32


@dataclass(frozen=True, slots=True)
class Sampling:
    """How first blocks are sampled."""

    steps: tuple[int, ...] = FOUR_STEPS
    shift: float = 3.0
    guidance: float = 1.0
    """Above 1: away from what the model expects without a prompt."""
    euler: bool = False
    """Go on with the noise that the model implies instead of fresh noise: for many steps."""
    seed: int = 0
    frames: int = BLOCK_FRAMES


@torch.no_grad()
def sample_first_blocks(bundle: Bundle, prompts: Sequence[str], *, sampling: Sampling) -> Tensor:
    """Latents [N,F,C,H,W] of the first block for every prompt."""
    generator = torch.Generator().manual_seed(sampling.seed)
    grid = (bundle.codec.config.channels, 2 * bundle_rows(bundle), 2 * bundle_rows(bundle))
    noise = torch.randn(len(prompts), len(sampling.steps), sampling.frames, *grid, generator=generator)
    tokens = torch.stack([bundle.text_encoder.tokenize(prompt) for prompt in prompts])
    parts = zip(tokens.split(TOGETHER), noise.split(TOGETHER), strict=True)
    return torch.cat([sample_block(bundle, token, part, sampling) for token, part in parts])


def bundle_rows(bundle: Bundle) -> int:
    """Token rows of a latent frame."""
    position = bundle.transformer.config.learned_position
    assert position is not None, "the demo model has a learned position"
    return position[0]


def embed(bundle: Bundle, tokens_BL: Tensor) -> TextKeysValues:
    """Cross-attention keys and values of prompts."""
    return bundle.transformer.embed_text(bundle.text_encoder(tokens_BL))


def sample_block(bundle: Bundle, tokens_BL: Tensor, noise_BSFCHW: Tensor, sampling: Sampling) -> Tensor:
    """First blocks [B,F,C,H,W] from given tokens and noise for every step."""
    schedule = make_schedule(SamplerConfig(steps=sampling.steps, shift=sampling.shift))
    guess = Guess(bundle, tokens_BL, sampling)
    noises = list(noise_BSFCHW.unbind(1))

    def predict(noisy: Tensor, step: int) -> Tensor:
        x0 = guess(noisy, schedule.sigmas[step])
        if sampling.euler and step + 1 < schedule.steps:
            sigma = schedule.sigmas[step]
            noises[step + 1] = (noisy - (1 - sigma) * x0) / sigma
        return x0

    x0 = denoise_block(predict, noises[0], schedule, renoise=lambda step: noises[step + 1], interrupted=lambda: False)
    assert x0 is not None, "never interrupted"
    return x0


class Guess:
    """The model's x0 for first blocks, guided if asked."""

    def __init__(self, bundle: Bundle, tokens_BL: Tensor, sampling: Sampling) -> None:
        self.bundle = bundle
        self.guidance = sampling.guidance
        self.text = embed(bundle, tokens_BL)
        self.no_text = embed(bundle, torch.full_like(tokens_BL, PAD_TOKEN)) if sampling.guidance != 1 else None
        rows = bundle_rows(bundle)
        self.rope = bundle.transformer.rope(range(sampling.frames), height=2 * rows, width=2 * rows)

    def __call__(self, noisy: Tensor, sigma: float) -> Tensor:
        levels = torch.full((noisy.shape[0],), sigma)
        transformer, attend = self.bundle.transformer, FullAttention()
        x0 = predict_x0(transformer, noisy, sigma_R=levels, text=self.text, rope=self.rope, attend=attend)
        if self.no_text is None:
            return x0
        without = predict_x0(transformer, noisy, sigma_R=levels, text=self.no_text, rope=self.rope, attend=attend)
        return without + self.guidance * (x0 - without)


def first_block_frames(bundle: Bundle, prompts: Sequence[str], *, sampling: Sampling) -> Tensor:
    """Frames [N,4F,3,H,W] in [0,1]."""
    return decode_latents(bundle.codec, sample_first_blocks(bundle, prompts, sampling=sampling))


def write_sheet(path: Path, frames_NT3HW: Tensor, *, columns: int = 4, shown: int = 2) -> None:
    """A PNG with `shown` frames of every clip, `columns` clips in a row."""
    count, frames = frames_NT3HW.shape[:2]
    chosen = frames_NT3HW[:, torch.linspace(0, frames - 1, shown).long()]
    cells = chosen.permute(0, 3, 1, 4, 2).flatten(2, 3)  # [N,H,shown*W,3]
    rows = -(-count // columns)
    sheet = torch.ones(rows * columns, *cells.shape[1:])
    sheet[:count] = cells
    picture = sheet.unflatten(0, (rows, columns)).transpose(1, 2).flatten(2, 3).flatten(0, 1)
    array = (picture.clamp(0, 1) * 255 + 0.5).numpy().astype(np.uint8)
    Image.fromarray(array).save(path)
