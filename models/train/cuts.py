"""Squares of clips and what a decoder's picture of them is worth.

Knows the pool of pairs and pixels; knows nothing about networks. Most squares are cut around the object: it is a tenth
of the picture and most of what is looked at.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from models.train.anchored import LEVELS, PairPool
from models.train.world import choose

MASK_MARGIN: Final = 7
"""Pixels of the square by which the object's mask grows, so that the halo around it counts as well."""


@dataclass(frozen=True, slots=True)
class DecoderBatch:
    """What one update of the decoder sees."""

    clips: int = 8
    crop: int = 8
    """Cells of the square that is cut from every clip; the whole picture's number for no cut."""
    object_share: float = 0.8
    """Cuts around the object; the others are anywhere."""
    refresh_every: int = 3
    """Updates between two rollouts."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Squares of clips: latents [B,F,C,h,w], frames [B,F,T,3,H,W] and masks [B,F,T,H,W] of T frames a latent frame."""

    latents: Tensor
    frames: Tensor
    masks: Tensor

    def to(self, device: torch.device) -> "Cut":
        """The same squares, moved."""
        return Cut(self.latents.to(device), self.frames.to(device), self.masks.to(device))


def picture_loss(made: Tensor, target: Tensor, *, mask: Tensor, object_weight: float) -> Tensor:
    """Mean absolute error of pixels and of steps between neighbours; [..., 3, H, W], the mask without colours."""
    grown = max_pool2d(mask.flatten(0, -3)[:, None], MASK_MARGIN, 1, MASK_MARGIN // 2)
    weight = (1 + (object_weight - 1) * grown).view_as(mask)[..., None, :, :]
    error = made - target
    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    terms = (
        (error.abs() * weight).mean(),
        (across.abs() * weight[..., 1:]).mean(),
        (down.abs() * weight[..., 1:, :]).mean(),
    )
    return torch.stack(terms).sum() / weight.mean()


def cut_squares(batch: DecoderBatch, pairs: PairPool, *, generator: torch.Generator) -> Cut:
    """A batch of squares of random pairs."""
    clips = [choose(pairs.config.clips, generator) for _ in range(batch.clips)]
    squares = [_square(batch, pairs, clip, generator) for clip in clips]
    latents, frames, masks = (torch.stack(part).float() for part in zip(*squares, strict=True))
    time = pairs.bundle.codec.config.frames
    return Cut(latents, frames.unflatten(1, (-1, time)) / LEVELS, masks.unflatten(1, (-1, time)) / LEVELS)


def _square(
    batch: DecoderBatch, pairs: PairPool, clip: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    side = pairs.bundle.codec.config.side
    room = pairs.latents.shape[-1] - batch.crop
    place = (torch.rand(2, generator=generator) * (room + 1)).floor()
    if float(torch.rand((), generator=generator)) < batch.object_share:
        spread = batch.crop / 2 * (torch.rand(2, generator=generator) - 0.5)
        place = (pairs.centre[clip] * pairs.latents.shape[-1] - batch.crop / 2 + spread).round().clamp(0, room)
    left, top = (int(value) for value in place)
    rows, columns = slice(top, top + batch.crop), slice(left, left + batch.crop)
    down, across = (slice(part.start * side, part.stop * side) for part in (rows, columns))
    return (
        pairs.latents[clip][..., rows, columns],
        pairs.frames[clip][..., down, across],
        pairs.masks[clip][..., down, across],
    )
