"""Keys and values in eight bits, with a scale for each head of each token: nearly half the memory of sixteen bits.

The same slots and plans as `cache/kv.py`, which it takes the place of. What is read is made anew for one layer at a
time; a pass sees its own keys and values as it left them, so a pass that is run again sees the same. The sink is
turned from the codes it was made with. Knows nothing of prompts.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from cache.kv import CacheShape, KVCache, TurnKeys
from cache.window import PassPlan, WindowSpec

SCALE_DTYPE: Final = torch.float16
_LARGEST: Final = 127
_LEAST: Final = 2.0**-24
"""The least number of float16 that is not zero: a vector of zeros has a scale to be divided by."""


class Codes(NamedTuple):
    """Vectors [..., D] as int8, and what they are multiplied with [..., 1]."""

    codes: Tensor
    scales: Tensor


def quantise(x: Tensor) -> Codes:
    """To the nearest of 255 steps between the largest magnitude of each vector and its negative."""
    wide = x.float()
    largest = wide.abs().amax(-1, keepdim=True)
    # Divided by the scale as it is held: rounding it costs no more than a clamp of the largest number.
    scales = (largest / _LARGEST).clamp_min(_LEAST).to(SCALE_DTYPE)
    return Codes((wide / scales.float()).round().clamp(-_LARGEST, _LARGEST).to(torch.int8), scales)


def widen(held: Codes, dtype: torch.dtype) -> Tensor:
    """The vectors again, in `dtype`."""
    return (held.codes.float() * held.scales.float()).to(dtype)


def int8_bytes(shape: CacheShape, spec: WindowSpec) -> int:
    """Bytes that an Int8KVCache allocates."""
    return shape.rows(spec) * (shape.head_dim + SCALE_DTYPE.itemsize)


class Int8KVCache(KVCache):
    """What is read is in `dtype`, the one that is computed in."""

    def __init__(
        self, spec: WindowSpec, shape: CacheShape, *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(spec, shape, dtype=torch.int8, device=device)
        self.dtype = dtype
        self.key_scales_LBNH1, self.value_scales_LBNH1, self.sink_scales_LBTH1 = (
            torch.zeros((*codes.shape[:-1], 1), dtype=SCALE_DTYPE, device=device)
            for codes in (self.keys_LBNHD, self.values_LBNHD, self.sink_keys_LBTHD)
        )

    @property
    def slot_tensors(self) -> tuple[Tensor, ...]:
        return (self.keys_LBNHD, self.values_LBNHD, self.key_scales_LBNH1, self.value_scales_LBNH1)

    @property
    def sink_tensors(self) -> tuple[Tensor, ...]:
        return (self.sink_keys_LBTHD, self.sink_scales_LBTH1)

    def keys(self, layer: int, tokens: int) -> Codes:
        """Views of the first `tokens` tokens, [B, T, H, D]."""
        return Codes(self.keys_LBNHD[layer, :, :tokens], self.key_scales_LBNH1[layer, :, :tokens])

    def values(self, layer: int, tokens: int) -> Codes:
        return Codes(self.values_LBNHD[layer, :, :tokens], self.value_scales_LBNH1[layer, :, :tokens])

    def begin(self, plan: PassPlan, turn: TurnKeys) -> None:
        if plan.writes_sink:
            self.sink_shift = 0
            return
        if plan.sink_shift == self.sink_shift:
            return
        tokens = self.sink_keys_LBTHD.shape[2]
        made = widen(Codes(self.sink_keys_LBTHD, self.sink_scales_LBTH1), torch.float32)
        turned = quantise(turn(made, plan.sink_shift))
        self.keys_LBNHD[:, :, :tokens].copy_(turned.codes)
        self.key_scales_LBNH1[:, :, :tokens].copy_(turned.scales)
        self.sink_shift = plan.sink_shift

    def write(self, layer: int, keys_BTHD: Tensor, values_BTHD: Tensor, *, plan: PassPlan) -> None:
        per_frame = self.shape.tokens_per_frame
        assert keys_BTHD.shape[1] == plan.frames * per_frame, (keys_BTHD.shape, plan.frames, per_frame)
        slots = self.slot_tokens(plan)
        whole = self.spec.slots * per_frame
        put(self.keys(layer, whole), slots, quantise(keys_BTHD))
        put(self.values(layer, whole), slots, quantise(values_BTHD))

    def first(self, layer: int, *, tokens: int) -> tuple[Tensor, Tensor]:
        """As in the cache of full precision, but in memory of their own."""
        return widen(self.keys(layer, tokens), self.dtype), widen(self.values(layer, tokens), self.dtype)

    def commit(self, plan: PassPlan) -> None:
        super().commit(plan)
        if plan.writes_sink:
            self.sink_scales_LBTH1.copy_(self.key_scales_LBNH1[:, :, : self.sink_scales_LBTH1.shape[2]])


def put(held: Codes, slots_N: Tensor, given: Codes) -> None:
    """Write tokens [B, N, H, D] to their slots."""
    held.codes.index_copy_(1, slots_N, given.codes)
    held.scales.index_copy_(1, slots_N, given.scales)
