"""The transformer run the way the published code runs it: a baseline for measurements, and no part of the product.

Same weights, same numbers; what differs is how they are come by. Every layer of every pass clones the whole cache and
writes into the clone, positions are complex numbers in double precision, a low-rank adapter is left beside its matrix,
nothing is fused, the modulation is added up anew in every layer. Held to the published tensors by its test.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cache.kv import KVCache
from cache.window import PassPlan
from models.attention import Kernel, attention
from models.passes import CachedAttention, CachedPasses
from models.rope import Rotation
from models.transformer import PassContext, SelfAttention, Transformer

RANK = 256


class BesideAdapter(nn.Module):
    """A matrix and its adapter, multiplied with one after the other."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear
        draw = torch.Generator().manual_seed(rank)
        dtype = linear.weight.dtype
        self.a = nn.Parameter((torch.randn(rank, linear.in_features, generator=draw) * rank**-0.5).to(dtype))
        # Zeros, as a new adapter begins: the numbers stay those of the matrix alone, the work is done all the same.
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x) + nn.functional.linear(nn.functional.linear(x, self.a), self.b)
        return out


class DoubleTurns(SelfAttention):
    """Self-attention whose positions are complex numbers in double precision."""

    def forward(self, x_BNC: Tensor, *, rope: Rotation, attend: object, layer: int) -> Tensor:
        assert isinstance(attend, CloningAttention)
        q, k = _turned(self.queries(x_BNC), rope), _turned(self.keys(x_BNC), rope)
        out: Tensor = self.o(attend.attend(layer, q, k, self.values(x_BNC)).flatten(-2))
        return out


def _turned(x_BNHD: Tensor, rope: Rotation) -> Tensor:
    pairs = torch.view_as_complex(x_BNHD.double().unflatten(-1, (-1, 2)))
    circle = torch.complex(rope.cos_N1P.double(), rope.sin_N1P.double())
    return torch.view_as_real(pairs * circle).flatten(-2).to(x_BNHD.dtype)


@dataclass(frozen=True, slots=True)
class CloningAttention:
    """Each layer's cache is cloned, written to, attended to and put back."""

    cache: KVCache
    plan: PassPlan
    kernel: Kernel

    def attend(self, layer: int, q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor) -> Tensor:
        tokens = self.plan.valid_slots * self.cache.shape.tokens_per_frame
        slots = self.cache.slot_tokens(self.plan)
        kept = (self.cache.keys_LBNHD[layer], self.cache.values_LBNHD[layer])
        keys, values = (tensor.clone() for tensor in kept)
        keys[:, slots], values[:, slots] = k_BNHD, v_BNHD
        out = attention(q_BNHD, keys[:, :tokens], values[:, :tokens], kernel=self.kernel)
        for target, source in zip(kept, (keys, values), strict=True):
            target.copy_(source)
        return out


class PublishedPasses(CachedPasses):
    """Passes of a transformer that `as_published` has changed."""

    def _context(self, cache: KVCache, plan: PassPlan, text: object) -> PassContext:
        context = super()._context(cache, plan, text)  # type: ignore[arg-type]
        attend = context.attend
        assert isinstance(attend, CachedAttention)
        cloning = CloningAttention(attend.cache, attend.plan, attend.kernel)
        return PassContext(context.rope, context.text, cloning, context.kernel)


def as_published(transformer: Transformer, *, rank: int = RANK) -> None:
    """In place; `rank` 0 leaves adapters out."""
    for block in transformer.blocks:
        block.self_attn.__class__ = DoubleTurns
        if not rank:
            continue
        for part in (block.self_attn, block.cross_attn):
            for name in ("q", "k", "v", "o"):
                setattr(part, name, BesideAdapter(getattr(part, name), rank))
        for place in (0, 2):
            linear = block.ffn[place]
            assert isinstance(linear, nn.Linear)
            block.ffn[place] = BesideAdapter(linear, rank)
