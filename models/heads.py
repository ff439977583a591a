"""Heads that see a shorter window than the others: which ones, and attention in two parts.

A head that hardly looks at the older frames loses little when it no longer sees them, and the products with them are
saved (Forcing-KV and Dummy Forcing, see sota.md 2f). Which heads look back least is seen on a fixed take of the loaded
model; the choice is part of the numerics fingerprint. Rebuilds of several blocks see the whole window.

Legend: B batch, N queries, T keys, H heads, S of them short, D width of a head, L layers.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cache.kv import KVCache
from cache.window import PassPlan, WindowSpec, near_slots
from models.attention import Kernel, attention
from models.kernels.forms import Near

QUERIES: Final = 64
"""Of a pass that are looked at, evenly spread: enough for a mean, and small at any size."""


@dataclass(frozen=True, slots=True)
class ShortHeads:
    """Of every layer, in rising order; they see `frames` latent frames."""

    frames: int
    layers: tuple[tuple[int, ...], ...]

    def describe(self) -> str:
        """For the numerics fingerprint."""
        return f"{self.frames} frames: " + " ".join(",".join(map(str, heads)) for heads in self.layers)


class HeadWindows:
    """The same as indices on a device."""

    def __init__(self, short: ShortHeads, *, heads: int, device: torch.device) -> None:
        self.frames = short.frames
        self._layers = tuple(
            (
                torch.tensor(chosen, device=device),
                torch.tensor([head for head in range(heads) if head not in chosen], device=device),
            )
            for chosen in short.layers
        )

    def of(self, cache: KVCache, plan: PassPlan) -> tuple[Near, ...] | None:
        """What the layers of a pass see; None where all heads see all there is."""
        spec = cache.spec
        if plan.frames != spec.block_frames or plan.valid_slots <= self.frames:
            return None
        tokens = near_tokens(cache, plan, frames=self.frames)
        return tuple(Near(short, long, tokens) for short, long in self._layers)


def near_tokens(cache: KVCache, plan: PassPlan, *, frames: int) -> Tensor:
    """The tokens of a window of `frames` latent frames, int64 on the cache's device."""
    slots = torch.tensor(near_slots(plan, cache.spec, frames=frames))
    per_frame = cache.shape.tokens_per_frame
    return (slots[:, None] * per_frame + torch.arange(per_frame)).flatten().to(cache.keys_LBNHD.device)


def attend_apart(q_BNHD: Tensor, k_BTHD: Tensor, v_BTHD: Tensor, *, near: Near | None, kernel: Kernel) -> Tensor:
    """`attention`, the short heads by themselves over what is near."""
    if near is None:
        return attention(q_BNHD, k_BTHD, v_BTHD, kernel=kernel)
    short, long, tokens = near
    out = torch.empty_like(q_BNHD, memory_format=torch.contiguous_format)
    far = (tensor.index_select(2, long) for tensor in (q_BNHD, k_BTHD, v_BTHD))
    close = (tensor.index_select(1, tokens).index_select(2, short) for tensor in (k_BTHD, v_BTHD))
    out.index_copy_(2, long, attention(*far, kernel=kernel))
    out.index_copy_(2, short, attention(q_BNHD.index_select(2, short), *close, kernel=kernel))
    return out


class Looks:
    """How much of each head's attention goes to the frames that a window of `frames` does not hold: [L, H]."""

    def __init__(self, spec: WindowSpec, *, frames: int, layers: int, heads: int) -> None:
        self._spec, self._frames = spec, frames
        self.beyond_LH = torch.zeros(layers, heads, dtype=torch.float64)

    def see(self, layer: int, q_BNHD: Tensor, k_BTHD: Tensor, *, cache: KVCache, plan: PassPlan) -> None:
        """Add what one layer of a pass looks at; nothing unless it is a block's and the window is full."""
        if plan.frames != self._spec.block_frames or plan.valid_slots != self._spec.slots:
            return
        some = q_BNHD[:, :: -(-q_BNHD.shape[1] // QUERIES)].float()
        scores_BHNT = torch.einsum("bnhd,bthd->bhnt", some, k_BTHD.float()) / some.shape[-1] ** 0.5
        near = near_tokens(cache, plan, frames=self._frames)
        beyond = 1 - scores_BHNT.softmax(-1).index_select(-1, near).sum(-1)
        self.beyond_LH[layer] += beyond.mean((0, 2)).double().cpu()

    def least(self, count: int) -> ShortHeads:
        """The `count` heads of each layer that look back least."""
        order = self.beyond_LH.argsort(dim=1, stable=True)[:, :count]
        return ShortHeads(self._frames, tuple(tuple(sorted(row)) for row in order.tolist()))


@dataclass(frozen=True, slots=True)
class LookingAttention:
    """Attention of a pass that is looked at on its way."""

    cache: KVCache
    plan: PassPlan
    kernel: Kernel
    looks: Looks

    def attend(self, layer: int, q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor) -> Tensor:
        self.cache.write(layer, k_BNHD, v_BNHD, plan=self.plan)
        keys, values = self.cache.read(layer, plan=self.plan)
        self.looks.see(layer, q_BNHD, keys, cache=self.cache, plan=self.plan)
        return attention(q_BNHD, keys, values, kernel=self.kernel)
