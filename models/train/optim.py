"""The optimiser of the demo model: Muon for matrices inside the blocks, AdamW for everything else, and an average of
the weights.

Knows parameters and gradients; knows nothing about what they are for. The same update as `torch.optim.Muon` with
`match_rms_adamw`, but in float32 and over stacks of equal shapes: torch's orthogonalises in bfloat16, which a
processor without bfloat16 instructions emulates (5.7 s against 0.3 s a step on two AVX2 cores).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.train.parallel import average_gradients
from models.train.shard import whole

NEWTON_SCHULZ: Final = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS: Final = 5
RMS_OF_ADAMW: Final = 0.2


def orthogonalise(gradients: Tensor) -> Tensor:
    """The nearest (roughly) orthogonal matrices to a stack [K, rows, columns]."""
    a, b, c = NEWTON_SCHULZ
    tall = gradients.shape[-2] > gradients.shape[-1]
    x = gradients.mT if tall else gradients
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = a * x + torch.baddbmm(square, square, square, beta=b, alpha=c) @ x
    result: Tensor = x.mT if tall else x
    return result


class Muon:
    """Momentum, orthogonalised, for matrices."""

    def __init__(self, parameters: Sequence[nn.Parameter], *, momentum: float, weight_decay: float) -> None:
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.groups: list[list[nn.Parameter]] = []
        for shape in sorted({tuple(parameter.shape) for parameter in parameters}):
            self.groups.append([parameter for parameter in parameters if tuple(parameter.shape) == shape])
        self.buffers = [torch.zeros(len(group), *group[0].shape, device=group[0].device) for group in self.groups]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update at this learning rate."""
        for group, buffer in zip(self.groups, self.buffers, strict=True):
            gradients = torch.stack([_gradient(parameter) for parameter in group])
            buffer.lerp_(gradients, 1 - self.momentum)
            update = orthogonalise(torch.lerp(gradients, buffer, self.momentum))
            scale = RMS_OF_ADAMW * max(buffer.shape[-2:]) ** 0.5
            for parameter, change in zip(group, update, strict=True):
                parameter.mul_(1 - rate * self.weight_decay).add_(change, alpha=-rate * scale)

    def state_dict(self) -> dict[str, Tensor]:
        """The momenta by group."""
        return {str(index): buffer for index, buffer in enumerate(self.buffers)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take momenta saved by `state_dict`."""
        for index, buffer in enumerate(self.buffers):
            buffer.copy_(state[str(index)])


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None, "every parameter takes part in every step"
    return parameter.grad


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates and their decay."""

    muon: float = 5e-3
    adamw: float = 2e-3
    warmup_steps: int = 20
    decay_share: float = 0.35
    """Last share of the time budget over which the rates fall linearly to a twentieth."""
    average: float = 0.997

    def factor(self, step: int, progress: float) -> float:
        """What the rates are multiplied by at a step, when `progress` of the time budget is used."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        left = max(0.0, 1.0 - progress) / max(self.decay_share, 1e-9)
        return warm * max(0.05, min(1.0, left))


class Optimiser:
    """Both optimisers, the gradient's limit, and the running average of the weights."""

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
        *,
        rates: Rates,
        betas: tuple[float, float] = (0.9, 0.97),
    ) -> None:
        self.rates = rates
        self.parameters = [*matrices, *others]
        self.muon = Muon(matrices, momentum=0.95, weight_decay=0.01)
        self.adamw = torch.optim.AdamW(others, lr=rates.adamw, betas=betas, weight_decay=0.0)
        self.average = [parameter.detach().clone() for parameter in self.parameters]

    def step(self, step: int, progress: float) -> float:
        """Update parameters and average; returns the gradient's norm before it was limited."""
        factor = self.rates.factor(step, progress)
        average_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.muon.step(self.rates.muon * factor)
        for group in self.adamw.param_groups:
            group["lr"] = self.rates.adamw * factor
        self.adamw.step()
        for parameter in self.parameters:
            parameter.grad = None
        # A young average follows closely, so that its first weights do not weigh on it for long.
        keep = min(self.rates.average, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [parameter.data for parameter in self.parameters], 1 - keep)
        return float(whole(norm))

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, besides the weights."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict(), "average": self.average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])
        with torch.no_grad():
            for own, saved in zip(self.average, state["average"], strict=True):
                own.copy_(saved)
