"""Distribution matching distillation: its noise levels, its gradient, the critic's loss, and the teacher's guidance.

Pure functions over predictions of clean latents, as published for this family of models; knows no network and no
rollout. The generator's gradient is the difference of what the critic (trained on the generator's own output) and the
guided teacher make of the same noisy latents: it points from where the generator's output is usual to where the
teacher's is.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from models.config import TRAINING_TIMESTEPS
from models.sampler import shift_sigma

LOWEST_SIGMA: Final = 0.02
HIGHEST_SIGMA: Final = 0.98


def score_levels(count: int, *, shift: float, generator: torch.Generator) -> Tensor:
    """Noise levels [count] at which teacher and critic are compared: even before the shift, kept off both ends."""
    nominal = torch.randint(TRAINING_TIMESTEPS, (count,), generator=generator) / TRAINING_TIMESTEPS
    return torch.tensor([shift_sigma(float(level), shift) for level in nominal]).clamp(LOWEST_SIGMA, HIGHEST_SIGMA)


def guided(with_text: Tensor, without_text: Tensor, *, guidance: float) -> Tensor:
    """The teacher's x0, moved on by `guidance` times the difference that the text makes; 0 is no guidance."""
    return with_text + guidance * (with_text - without_text)


def matching_gradient(x: Tensor, *, fake: Tensor, real: Tensor) -> Tensor:
    """The gradient [B,...] for the generator's output x, scaled by how far each sample is from the teacher's x0."""
    scale = (x - real).abs().flatten(1).mean(dim=1).view(-1, *[1] * (x.ndim - 1))
    return torch.nan_to_num((fake - real) / scale)


def matching_loss(x: Tensor, gradient: Tensor) -> Tensor:
    """A loss whose gradient in x is `gradient` over the number of values in x."""
    target = (x.double() - gradient.double()).detach()
    return 0.5 * (x.double() - target).square().mean()


def critic_loss(x0_hat: Tensor, x: Tensor, *, sigma_B: Tensor) -> Tensor:
    """The squared error of the velocity that the critic's x0 means, against that of the generator's output."""
    sigma = sigma_B.view(-1, *[1] * (x.ndim - 1))
    return ((x0_hat - x) / sigma).square().mean()


@torch.no_grad()
def ode_endpoint(predict: Callable[[Tensor, float], Tensor], noisy: Tensor, sigma: float, *, substeps: int) -> Tensor:
    """Where the teacher's own path from `noisy` ends, in Euler steps of equal size: the alternative objective's target.

    A point on a path, not a mean over all that might be meant: a student that learns it in one step stays sharp.
    """
    levels = [sigma * (substeps - step) / substeps for step in range(substeps)]
    x0 = noisy
    for step, level in enumerate(levels):
        x0 = predict(noisy, level)
        if step + 1 < substeps:
            noisy = x0 + levels[step + 1] / level * (noisy - x0)  # the same noise, at the next level
    return x0
