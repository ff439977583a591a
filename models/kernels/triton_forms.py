"""The fused operations as Triton kernels: one reading and one writing of each token, by one program each.

Every program has one token's row in registers. Sums are in float32; a product with a norm's weight rounds as the plain
form does, so that in bfloat16 both see the same numbers. Wrapped as operators of torch's own, which a compiler passes
through without looking inside. Knows no model. Never run on a GPU so far: tests run it under Triton's interpreter.

Legend: as forms.py; `width` is C, `half` the next power of two from C / 2 on.
"""

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op
from torch.nn import functional as F

from models.kernels.forms import LayerMemory, Turn

KEYS: Final = 4
"""Place of the keys among the arguments of `store`, the first left out."""

# Kernels: the annotations say what the compiler is told, not what is passed.


@triton.jit
def _norm_kernel(x, weight, out, eps, width: tl.constexpr, padded: tl.constexpr):  # type: ignore[no-untyped-def]
    row, place = tl.program_id(0), tl.arange(0, padded)
    inside = place < width
    given = tl.load(x + row * width + place, mask=inside, other=0.0)
    wide = given.to(tl.float32)
    size = tl.rsqrt(tl.sum(wide * wide, axis=0) / width + eps)
    learned = tl.load(weight + place, mask=inside, other=0.0)
    normed = (wide * size).to(given.dtype).to(tl.float32)
    tl.store(out + row * width + place, (normed * learned.to(tl.float32)).to(given.dtype), mask=inside)


@triton.jit
def _modulate_kernel(  # type: ignore[no-untyped-def]
    x, shift, scale, out, eps, tokens, frames, stride, width: tl.constexpr, padded: tl.constexpr
):
    row, place = tl.program_id(0), tl.arange(0, padded)
    inside = place < width
    vector = _vector_of(row, tokens, frames) * stride + place
    given = tl.load(x + row * width + place, mask=inside, other=0.0)
    wide = given.to(tl.float32)
    apart = tl.where(inside, wide - tl.sum(wide, axis=0) / width, 0.0)
    size = tl.rsqrt(tl.sum(apart * apart, axis=0) / width + eps)
    normed = (apart * size).to(given.dtype).to(tl.float32)
    factor = tl.load(scale + vector, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(shift + vector, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + place, (normed * factor + offset).to(given.dtype), mask=inside)


@triton.jit
def _gate_kernel(  # type: ignore[no-untyped-def]
    x, update, gate, out, tokens, frames, stride, width: tl.constexpr, padded: tl.constexpr
):
    row, place = tl.program_id(0), tl.arange(0, padded)
    inside = place < width
    given = tl.load(x + row * width + place, mask=inside, other=0.0)
    added = tl.load(update + row * width + place, mask=inside, other=0.0).to(tl.float32)
    factor = tl.load(gate + _vector_of(row, tokens, frames) * stride + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + place, (given.to(tl.float32) + added * factor).to(given.dtype), mask=inside)


@triton.jit
def _vector_of(row, tokens, frames):  # type: ignore[no-untyped-def]
    """Which of the modulation's vectors a token has."""
    return (row // tokens) * frames + (row % tokens) * frames // tokens


@triton.jit
def _store_kernel(  # type: ignore[no-untyped-def]
    qkv, norms, cos, sin, slots, out, keys, values, batch_stride, slot_stride, tokens, eps,
    width: tl.constexpr, pairs: tl.constexpr, half: tl.constexpr,
):  # fmt: skip
    row, pair, place = tl.program_id(0), tl.arange(0, half), tl.arange(0, 2 * half)
    token = row % tokens
    inside, whole = pair < width // 2, place < width
    turn = token * pairs + pair % pairs
    c, s = tl.load(cos + turn, mask=inside, other=0.0), tl.load(sin + turn, mask=inside, other=0.0)
    slot = tl.load(slots + token)
    target = (row // tokens) * batch_stride + slot * slot_stride + place
    given = qkv + row * 3 * width + place
    q = _turned(tl.load(given, mask=whole, other=0.0), norms + place, whole, c, s, eps, width, half)
    tl.store(out + row * width + place, q, mask=whole)
    k = _turned(tl.load(given + width, mask=whole, other=0.0), norms + width + place, whole, c, s, eps, width, half)
    tl.store(keys + target, k, mask=whole)
    tl.store(values + target, tl.load(given + 2 * width, mask=whole, other=0.0), mask=whole)


@triton.jit
def _turned(  # type: ignore[no-untyped-def]
    given, weight, whole, c, s, eps, width: tl.constexpr, half: tl.constexpr
):
    wide = given.to(tl.float32)
    size = tl.rsqrt(tl.sum(wide * wide, axis=0) / width + eps)
    learned = tl.load(weight, mask=whole, other=0.0).to(tl.float32)
    normed = ((wide * size).to(given.dtype).to(tl.float32) * learned).to(given.dtype)
    even, odd = tl.split(tl.reshape(normed.to(tl.float32), (half, 2)))
    return tl.reshape(tl.join(even * c - odd * s, even * s + odd * c), (2 * half,)).to(given.dtype)


# Operators


@custom_op("longtake::rms_norm", mutates_args=())
def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    width = x.shape[-1]
    _norm_kernel[(x.numel() // width,)](x, weight, out, eps, width, triton.next_power_of_2(width))
    return out


@custom_op("longtake::modulate", mutates_args=())
def _modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    batch, tokens, width = x.shape
    _modulate_kernel[(batch * tokens,)](
        x, *_vectors(shift, scale, batch=batch), out, eps, tokens, shift.shape[1], width, width,
        triton.next_power_of_2(width),
    )  # fmt: skip
    return out


@custom_op("longtake::gate", mutates_args=())
def _gate(x: Tensor, update: Tensor, gate: Tensor) -> Tensor:
    x, update = x.contiguous(), update.contiguous()
    out = torch.empty_like(x)
    batch, tokens, width = x.shape
    (vectors,) = _vectors(gate, batch=batch)
    _gate_kernel[(batch * tokens,)](
        x, update, vectors, out, tokens, gate.shape[1], width, width, triton.next_power_of_2(width)
    )
    return out


@custom_op("longtake::store", mutates_args=("keys", "values"))
def _store(
    qkv: Tensor, norms: Tensor, cos: Tensor, sin: Tensor, slots: Tensor, keys: Tensor, values: Tensor, eps: float
) -> Tensor:
    qkv = qkv.contiguous()
    batch, tokens, _, width = qkv.shape
    heads, head_dim = keys.shape[-2:]
    assert keys.stride()[2:] == values.stride()[2:] == (head_dim, 1), "a token's heads lie side by side"
    assert keys.stride() == values.stride(), (keys.stride(), values.stride())
    out = qkv.new_empty(batch, tokens, heads, head_dim)
    _store_kernel[(batch * tokens,)](
        qkv, norms, cos, sin, slots, out, keys, values, keys.stride(0), keys.stride(1), tokens, eps,
        width, head_dim // 2, triton.next_power_of_2(width) // 2,
    )  # fmt: skip
    return out


def _vectors(*vectors_BFC: Tensor, batch: int) -> list[Tensor]:
    """One for each picture of the batch, laid out as the kernels count."""
    return [vectors.expand(batch, -1, -1).contiguous() for vectors in vectors_BFC]


# What they give, for a compiler that runs none of them.


@_norm.register_fake
@_modulate.register_fake
@_gate.register_fake
def _like(x: Tensor, *_others: object) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@_store.register_fake
def _queries(qkv: Tensor, *others: Tensor) -> Tensor:
    batch, tokens = qkv.shape[:2]
    heads, head_dim = others[KEYS].shape[-2:]
    return qkv.new_empty(batch, tokens, heads, head_dim)


class TritonOps:
    """The operators behind the interface that the hot path uses."""

    name = "triton"

    def norm(self, x_BNC: Tensor, weight_C: Tensor, eps: float) -> Tensor:
        out: Tensor = _norm(x_BNC, weight_C, eps)
        return out

    def modulate(self, x_BNC: Tensor, shift_BFC: Tensor, scale_BFC: Tensor, eps: float) -> Tensor:
        out: Tensor = _modulate(x_BNC, shift_BFC, scale_BFC, eps)
        return out

    def gate(self, x_BNC: Tensor, update_BNC: Tensor, gate_BFC: Tensor) -> Tensor:
        out: Tensor = _gate(x_BNC, update_BNC, gate_BFC)
        return out

    def gelu(self, x_BNC: Tensor) -> Tensor:
        # One kernel of torch's own: it reads and writes once already.
        return F.gelu(x_BNC, approximate="tanh")

    def store(self, qkv_BN3C: Tensor, norms_2C: Tensor, *, turn: Turn, memory: LayerMemory, eps: float) -> Tensor:
        queries: Tensor = _store(
            qkv_BN3C, norms_2C, turn.cos_N1P, turn.sin_N1P, turn.slots_N, memory.keys_BTHD, memory.values_BTHD, eps
        )
        return queries
