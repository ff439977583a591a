"""Flow matching in a few steps: the schedule, what the network's output means, and the making of one block.

x_t = (1 - sigma) x0 + sigma n, the timestep a model is told is 1000 sigma. Pure functions over callables: knows no
cache, no text, no stream. Formulas: longlive-spec 3.1; the preconditioning of `edm_x0` follows EDM (Karras et al.
2022, table 1) for this interpolant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.config import TRAINING_TIMESTEPS, Prediction, SamplerConfig


@dataclass(frozen=True, slots=True)
class Schedule:
    """The noise levels of a block's passes, largest first, and the timesteps the model is told."""

    sigmas: tuple[float, ...]
    context_timestep: float
    staggered: tuple[tuple[float, ...], ...] = ()
    """Each step's level for each latent frame of a block, where they differ; `sigmas` are then the last frame's."""

    @property
    def timesteps(self) -> tuple[float, ...]:
        return tuple(TRAINING_TIMESTEPS * sigma for sigma in self.sigmas)

    @property
    def steps(self) -> int:
        return len(self.sigmas)


def make_schedule(config: SamplerConfig, *, frames: int = 1) -> Schedule:
    """Warp the nominal steps: sigma' = shift sigma / (1 + (shift - 1) sigma).

    With `stagger`, frame f of F is at step (1 - stagger (F - 1 - f) / F) of the nominal one, from the second step on:
    the first begins with noise alone. (Sun et al. 2025, AR-Diffusion, have timesteps that never fall along a video.)
    """
    sigmas = tuple(shift_sigma(step / TRAINING_TIMESTEPS, config.shift) for step in config.steps)
    if not config.stagger:
        return Schedule(sigmas, config.context_timestep)
    behind = [1 - config.stagger * (frames - 1 - frame) / frames for frame in range(frames)]
    later = (
        tuple(shift_sigma(share * step / TRAINING_TIMESTEPS, config.shift) for share in behind)
        for step in config.steps[1:]
    )
    return Schedule(sigmas, config.context_timestep, (sigmas[:1] * frames, *later))


def shift_sigma(sigma: float, shift: float) -> float:
    return shift * sigma / (1 + (shift - 1) * sigma)


def add_noise(x0: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """x_t of the interpolant, in the dtype of x0."""
    return ((1 - sigma) * x0 + sigma * noise).to(x0.dtype)


def model_input(prediction: Prediction, noisy: Tensor, sigma: float | Tensor, data_std: Tensor | None) -> Tensor:
    """What the network is given: x_t itself, or x_t scaled to unit variance for `edm_x0`.

    `data_std` [C] is the deviation of each latent channel; `noisy` is [B, F, C, H, W].
    """
    if prediction == "flow":
        return noisy
    return noisy / _noisy_std(sigma, data_std)


def to_x0(
    prediction: Prediction, output: Tensor, *, noisy: Tensor, sigma: float | Tensor, data_std: Tensor | None
) -> Tensor:
    """The clean latents that the network's output means.

    `flow`: the output is the velocity n - x0, so x0 = x_t - sigma v. `edm_x0`: x0 = c_skip x_t + c_out F with
    c_skip = (1 - sigma) s^2 / ((1 - sigma)^2 s^2 + sigma^2) and c_out = sigma s / sqrt(the same).
    """
    if prediction == "flow":
        return (noisy.float() - sigma * output.float()).to(noisy.dtype)
    std = _channels(data_std)
    spread = _noisy_std(sigma, data_std)
    c_skip = (1 - sigma) * std.square() / spread.square()
    return (c_skip * noisy + (sigma * std / spread) * output).to(noisy.dtype)


def denoise_block(
    predict: Callable[[Tensor, int], Tensor],
    noise: Tensor,
    schedule: Schedule,
    *,
    renoise: Callable[[int], Tensor],
    interrupted: Callable[[], bool],
    levels: Sequence[float | Tensor] | None = None,
) -> Tensor | None:
    """Denoise one block from pure noise; None if `interrupted()` became true before a pass.

    Args:
        predict: x_t and the number of the step -> x0.
        noise: where the block begins, at the first (largest) sigma.
        renoise: the number of the step just done -> fresh noise for the next one.
        interrupted: asked before every pass; nothing that was done so far is kept.
        levels: each step's sigma, where frames have their own ([1, F, 1, 1, 1]); None: the schedule's.
    """
    x0 = noise
    noisy = noise
    levels = schedule.sigmas if levels is None else levels
    for step in range(schedule.steps):
        if interrupted():
            return None
        x0 = predict(noisy, step)
        if step + 1 < schedule.steps:
            noisy = add_noise(x0, renoise(step), levels[step + 1])
    return x0


def _channels(data_std: Tensor | None) -> Tensor:
    assert data_std is not None, "edm_x0 needs the deviation of the latent channels"
    return data_std[:, None, None]


def _noisy_std(sigma: float | Tensor, data_std: Tensor | None) -> Tensor:
    variance = ((1 - sigma) * _channels(data_std)).square() + torch.as_tensor(sigma).square()
    return variance.sqrt()
