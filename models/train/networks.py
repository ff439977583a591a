"""The generator that self-made streams come from: the demo's bundle in training, or another preset with its own files.

The one place where a training stage meets presets; what it gives is the same either way. Knows how parts are loaded;
knows nothing of losses.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from models.config import SamplerConfig
from models.presets import get_preset
from models.sampler import Schedule, make_schedule
from models.stored import Where, random_pieces, stored_pieces
from models.text import TextEncoder
from models.train.bundle import Bundle
from models.train.rollout import RolloutModel
from models.train.sampling import FOUR_STEPS
from models.train.settings import StageConfig


@dataclass(frozen=True, slots=True)
class Networks:
    """A generator, its text encoder, and the noise levels that it samples and is scored at."""

    model: RolloutModel
    text_encoder: TextEncoder
    schedule: Schedule
    shift: float


def of_bundle(bundle: Bundle, size: tuple[int, int], *, shift: float, steps: tuple[int, ...] = FOUR_STEPS) -> Networks:
    """The demo model in training."""
    schedule = make_schedule(SamplerConfig(steps=steps, shift=shift))
    return Networks(RolloutModel(bundle.transformer, size), bundle.text_encoder.requires_grad_(False), schedule, shift)


def of_preset(config: StageConfig, device: torch.device) -> Networks:
    """Another preset from its files, or with random weights where the configuration asks for them."""
    preset = get_preset(config.preset, preset_dir=Path(config.preset_dir) if config.preset_dir else None)
    where = Where(device=device, model_dir=Path(config.model_dir) if config.model_dir else None)
    pieces = random_pieces(preset, where, seed=config.seed) if config.random_weights else stored_pieces(preset, where)
    video = preset.video
    encoder: nn.Module = pieces.text_encoder
    encoder.requires_grad_(False)
    return Networks(
        RolloutModel(pieces.transformer, (video.latent_height, video.latent_width), preset.window),
        pieces.text_encoder,
        make_schedule(replace(preset.sampler, steps=config.steps or preset.sampler.steps)),
        preset.sampler.shift,
    )
