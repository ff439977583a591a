"""What the fused kernels compute, in plain torch: the definition that every other form is held equal to.

Three operations of a transformer block that are bound by memory, not arithmetic: LayerNorm with modulation, the gated
residual, and RMSNorm with rotation and the cache write for queries and keys. Pure functions of tensors; the only thing
that is changed is the cache's memory. Knows no model, no device.

Legend: B batch, N tokens of the pass, F frames they belong to (1: one vector serves all), C width, H heads, D width of
a head, P pairs of a head, T tokens of the cache.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Turn(NamedTuple):
    """Where the tokens of a pass stand and where in the cache they go: shared by all layers."""

    cos_N1P: Tensor
    sin_N1P: Tensor
    slots_N: Tensor
    """int64: which token of the cache each token of the pass becomes."""


class LayerMemory(NamedTuple):
    """One layer's keys and values that a pass attends to, views of the cache; its own slots are among them."""

    keys_BTHD: Tensor
    values_BTHD: Tensor


class CodedMemory(NamedTuple):
    """The same of a cache in eight bits (cache/int8.py)."""

    key_codes_BTHD: Tensor
    key_scales_BTH1: Tensor
    value_codes_BTHD: Tensor
    value_scales_BTH1: Tensor


class Near(NamedTuple):
    """One layer's heads that see less, the others, and the tokens that the former see: indices on the device."""

    short_S: Tensor
    long_H: Tensor
    tokens_T: Tensor


class FusedInputs(NamedTuple):
    """What all passes of one plan share, beside the text."""

    turn: Turn
    layers: tuple[LayerMemory | CodedMemory, ...]
    near: tuple[Near, ...] | None = None
    """Of each layer; None where all heads see all there is."""


class Ops(Protocol):
    """One form of the three operations, and of the norm and the activation beside them."""

    @property
    def name(self) -> str:
        """For the numerics fingerprint."""
        ...

    def norm(self, x_BNC: Tensor, weight_C: Tensor, eps: float) -> Tensor:
        """RMSNorm over the last axis: computed in float32, times the weight in the dtype given."""
        ...

    def modulate(self, x_BNC: Tensor, shift_BFC: Tensor, scale_BFC: Tensor, eps: float) -> Tensor:
        """LayerNorm without weights, times `scale` (the 1 is in it) plus `shift`, frame by frame."""
        ...

    def gate(self, x_BNC: Tensor, update_BNC: Tensor, gate_BFC: Tensor) -> Tensor:
        """x + update x gate, frame by frame."""
        ...

    def gelu(self, x_BNC: Tensor) -> Tensor:
        """The tanh form of GELU."""
        ...

    def store(self, qkv_BN3C: Tensor, norms_2C: Tensor, *, turn: Turn, memory: LayerMemory, eps: float) -> Tensor:
        """Norm and turn queries and keys; keys and values go to the cache. Returns the queries [B, N, H, D]."""
        ...


class PlainOps:
    """The definition, step by step."""

    name = "plain"

    def norm(self, x_BNC: Tensor, weight_C: Tensor, eps: float) -> Tensor:
        wide = x_BNC.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        return normed.to(x_BNC.dtype) * weight_C

    def modulate(self, x_BNC: Tensor, shift_BFC: Tensor, scale_BFC: Tensor, eps: float) -> Tensor:
        normed = by_frame(F.layer_norm(x_BNC, (x_BNC.shape[-1],), eps=eps), shift_BFC.shape[1])
        return (normed * scale_BFC[:, :, None] + shift_BFC[:, :, None]).flatten(1, 2)

    def gate(self, x_BNC: Tensor, update_BNC: Tensor, gate_BFC: Tensor) -> Tensor:
        update = by_frame(update_BNC, gate_BFC.shape[1]) * gate_BFC[:, :, None]
        return x_BNC + update.flatten(1, 2)

    def gelu(self, x_BNC: Tensor) -> Tensor:
        return F.gelu(x_BNC, approximate="tanh")

    def store(self, qkv_BN3C: Tensor, norms_2C: Tensor, *, turn: Turn, memory: LayerMemory, eps: float) -> Tensor:
        q, k, v = qkv_BN3C.unbind(2)
        query, key = norms_2C.unbind(0)
        heads = memory.keys_BTHD.shape[-2]
        q = turned(split(self.norm(q, query, eps), heads), turn)
        memory.keys_BTHD.index_copy_(1, turn.slots_N, turned(split(self.norm(k, key, eps), heads), turn))
        memory.values_BTHD.index_copy_(1, turn.slots_N, split(v, heads))
        return q


def by_frame(x_BNC: Tensor, frames: int) -> Tensor:
    """[B, F, S, C], or [B, 1, N, C] where one vector serves all frames."""
    return x_BNC.view(x_BNC.shape[0], frames, -1, x_BNC.shape[-1])


def split(x_BNC: Tensor, heads: int) -> Tensor:
    """[B, N, H, D]"""
    out: Tensor = x_BNC.unflatten(-1, (heads, -1))
    return out


def turned(x_BNHD: Tensor, turn: Turn) -> Tensor:
    """Neighbouring elements are a pair; computed in float32, returned in the dtype given."""
    even, odd = x_BNHD.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turn.cos_N1P, turn.sin_N1P
    out = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return out.flatten(-2).to(x_BNHD.dtype)
