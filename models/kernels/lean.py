"""The three operations in as few torch calls as there are: the form for a CPU without a compiler.

On a small model the time between matrix products is mostly that of calls and of reading the same numbers again. A pair
of neighbouring elements is a complex number, so a rotation is one product; queries and keys go through it together.
Equal to `forms.py` up to rounding, held so by tests. Knows no model.
"""

from math import pi
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from models.kernels.forms import LayerMemory, Turn, by_frame, split

GELU_LINE: Final = 2 * (2 / pi) ** 0.5
GELU_CUBE: Final = 0.044715


class LeanOps:
    """In float32 by complex products; other dtypes are widened for the rotation and narrowed once."""

    name = "lean"

    def norm(self, x_BNC: Tensor, weight_C: Tensor, eps: float) -> Tensor:
        return (x_BNC * _inverse(x_BNC, eps).to(x_BNC.dtype)).mul_(weight_C)

    def modulate(self, x_BNC: Tensor, shift_BFC: Tensor, scale_BFC: Tensor, eps: float) -> Tensor:
        width, frames = x_BNC.shape[-1], shift_BFC.shape[1]
        if frames == 1 and x_BNC.shape[0] == 1:
            # One vector for all tokens is what a layer norm's own weight and bias are.
            return F.layer_norm(x_BNC, (width,), scale_BFC.view(width), shift_BFC.view(width), eps)
        normed = by_frame(F.layer_norm(x_BNC, (width,), eps=eps), frames)
        return torch.addcmul(shift_BFC[:, :, None], normed, scale_BFC[:, :, None]).flatten(1, 2)

    def gate(self, x_BNC: Tensor, update_BNC: Tensor, gate_BFC: Tensor) -> Tensor:
        frames = gate_BFC.shape[1]
        update = by_frame(update_BNC, frames)
        return torch.addcmul(by_frame(x_BNC, frames), update, gate_BFC[:, :, None]).flatten(1, 2)

    def gelu(self, x_BNC: Tensor) -> Tensor:
        # x (1 + tanh u) / 2 is x times the logistic function of 2 u, which takes half the time of a tanh here.
        inner = x_BNC * x_BNC
        return inner.mul_(GELU_CUBE * GELU_LINE).add_(GELU_LINE).mul_(x_BNC).sigmoid_().mul_(x_BNC)

    def store(self, qkv_BN3C: Tensor, norms_2C: Tensor, *, turn: Turn, memory: LayerMemory, eps: float) -> Tensor:
        heads = memory.keys_BTHD.shape[-2]
        both_BN2C = qkv_BN3C[:, :, :2]
        normed = (both_BN2C.float() * norms_2C).mul_(_inverse(both_BN2C, eps))
        pairs = torch.view_as_complex(split(normed, heads).unflatten(-1, (-1, 2)))
        circle_N1P = torch.complex(turn.cos_N1P, turn.sin_N1P)
        out = torch.view_as_real(pairs.mul_(circle_N1P[:, None])).flatten(-2).to(qkv_BN3C.dtype)
        memory.keys_BTHD.index_copy_(1, turn.slots_N, out[:, :, 1])
        memory.values_BTHD.index_copy_(1, turn.slots_N, split(qkv_BN3C[:, :, 2], heads))
        return out[:, :, 0]


def _inverse(x: Tensor, eps: float) -> Tensor:
    """1 over the root mean square of the last axis, in float32, with that axis kept at 1."""
    norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.rsqrt(norms.square_().div_(x.shape[-1]).add_(eps))
