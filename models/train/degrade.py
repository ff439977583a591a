"""Damage rendered clips as a small model would: codec round trip, blur, patchy and fine noise.

Knows pixels and the codec. Used to calibrate the detectors and to say how far they can be trusted.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from models.train.codec import decode_latents, encode_clips
from models.vae import LinearCodec

FINE_NOISE: Final = 0.05
PATCH_NOISE: Final = 0.03
BLUR: Final = (0.06, 0.24, 0.40, 0.24, 0.06)
TOGETHER: Final = 4


def degrade(frames_NT3HW: Tensor, codec: LinearCodec, generator: torch.Generator) -> Tensor:
    """Damaged copies of clips; T is a multiple of the codec's frames."""
    # A few clips at a time stay in the processor's cache.
    return torch.cat([_degrade(clips, codec, generator) for clips in frames_NT3HW.split(TOGETHER)])


def _degrade(frames_NT3HW: Tensor, codec: LinearCodec, generator: torch.Generator) -> Tensor:
    count, frames, _, height, width = frames_NT3HW.shape
    passed = decode_latents(codec, encode_clips(codec, frames_NT3HW))
    blurred = _blur(passed.flatten(0, 1))
    fine = FINE_NOISE * torch.randn(blurred.shape, generator=generator)
    coarse = PATCH_NOISE * torch.randn(count * frames, 3, height // 8, width // 8, generator=generator)
    patches = interpolate(coarse, scale_factor=8.0, mode="nearest")
    damaged: Tensor = (blurred + fine + patches).clamp(0, 1).unflatten(0, (count, frames))
    return damaged


def _blur(frames_N3HW: Tensor) -> Tensor:
    """A small separable blur, edges repeated. As sums of shifted pictures: many times as fast as a convolution here."""
    height, width = frames_N3HW.shape[-2:]
    tall = pad(frames_N3HW, (0, 0, 2, 2), mode="replicate")
    rows = sum(share * tall[:, :, shift : shift + height] for shift, share in enumerate(BLUR))
    wide = pad(torch.as_tensor(rows), (2, 2, 0, 0), mode="replicate")
    blurred = sum(share * wide[..., shift : shift + width] for shift, share in enumerate(BLUR))
    return torch.as_tensor(blurred)
