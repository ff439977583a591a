"""The self-attention keys and values of one stream: allocated once, written in place, never copied or rolled.

Executes the plans of `cache/window.py` and decides nothing itself. Noisy passes write into the slots of the block
in the making; the clean pass writes the same slots last, which is what commits them. Knows nothing of prompts.

Legend: L layers, B batch, T tokens, N slots x tokens of a frame, H heads, D width of a head.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cache.window import PassPlan, WindowSpec

TurnKeys = Callable[[Tensor, int], Tensor]
"""Rotates keys [..., T, H, D] by a number of temporal positions; given by the model, whose rotary scheme it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheShape:
    """Sizes of one stream's cache."""

    layers: int
    heads: int
    head_dim: int
    tokens_per_frame: int
    batch: int = 1

    def rows(self, spec: WindowSpec) -> int:
        """Vectors of `head_dim` numbers that a cache of this shape holds: keys, values, and the sink's keys as made."""
        frames = 2 * spec.slots + (spec.sink_frames if spec.positions == "relative" else 0)
        return self.layers * self.batch * frames * self.tokens_per_frame * self.heads

    def bytes(self, spec: WindowSpec, dtype: torch.dtype) -> int:
        """Bytes that a KVCache of this shape allocates."""
        return self.rows(spec) * self.head_dim * dtype.itemsize


class KVCache:
    """Keys (rotated to their place in the stream) and values of sink and ring, for all layers."""

    def __init__(
        self, spec: WindowSpec, shape: CacheShape, *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        self.spec = spec
        self.shape = shape
        tokens = spec.slots * shape.tokens_per_frame
        size = (shape.layers, shape.batch, tokens, shape.heads, shape.head_dim)
        # Zeros, not empty: a replay may attend to slots that are not rebuilt yet, whose values must be finite.
        self.keys_LBNHD = torch.zeros(size, dtype=dtype, device=device)
        self.values_LBNHD = torch.zeros(size, dtype=dtype, device=device)
        # The sink's keys as made. The ones in use are turned from these each time, so that errors do not add up.
        sink_tokens = spec.sink_frames * shape.tokens_per_frame if spec.positions == "relative" else 0
        self.sink_keys_LBTHD = torch.zeros((*size[:2], sink_tokens, *size[3:]), dtype=dtype, device=device)
        self.sink_shift = 0

    @property
    def slot_tensors(self) -> tuple[Tensor, ...]:
        """All that the slots hold, tokens along the third axis: what a copy of the cache is made of."""
        return (self.keys_LBNHD, self.values_LBNHD)

    @property
    def sink_tensors(self) -> tuple[Tensor, ...]:
        """The sink's keys as they were made, likewise."""
        return (self.sink_keys_LBTHD,)

    def begin(self, plan: PassPlan, turn: TurnKeys) -> None:
        """Put the sink where this pass expects it. Call before each pass; does nothing when it stands there."""
        if plan.writes_sink:
            self.sink_shift = 0
            return
        if plan.sink_shift != self.sink_shift:
            sink_tokens = self.sink_keys_LBTHD.shape[2]
            self.keys_LBNHD[:, :, :sink_tokens].copy_(turn(self.sink_keys_LBTHD, plan.sink_shift))
            self.sink_shift = plan.sink_shift

    def write(self, layer: int, keys_BTHD: Tensor, values_BTHD: Tensor, *, plan: PassPlan) -> None:
        """Store the pass's keys and values of one layer in the slots that the plan names."""
        per_frame = self.shape.tokens_per_frame
        assert keys_BTHD.shape == values_BTHD.shape, (keys_BTHD.shape, values_BTHD.shape)
        assert keys_BTHD.shape[1] == plan.frames * per_frame, (keys_BTHD.shape, plan.frames, per_frame)
        for span in plan.writes:
            source = slice(span.start * per_frame, (span.start + span.length) * per_frame)
            target = slice(span.slot * per_frame, (span.slot + span.length) * per_frame)
            self.keys_LBNHD[layer, :, target].copy_(keys_BTHD[:, source])
            self.values_LBNHD[layer, :, target].copy_(values_BTHD[:, source])

    def slot_tokens(self, plan: PassPlan) -> Tensor:
        """Which token of the cache each token of the pass is written to: int64 on the cache's device."""
        per_frame, device = self.shape.tokens_per_frame, self.keys_LBNHD.device
        runs = [
            torch.arange(span.slot * per_frame, (span.slot + span.length) * per_frame, device=device)
            for span in plan.writes
        ]
        return runs[0] if len(runs) == 1 else torch.cat(runs)

    def read(self, layer: int, *, plan: PassPlan) -> tuple[Tensor, Tensor]:
        """Keys and values that the pass attends to, as views [B, T, H, D]."""
        return self.first(layer, tokens=plan.valid_slots * self.shape.tokens_per_frame)

    def first(self, layer: int, *, tokens: int) -> tuple[Tensor, Tensor]:
        """The first `tokens` tokens of the slots, likewise."""
        return self.keys_LBNHD[layer, :, :tokens], self.values_LBNHD[layer, :, :tokens]

    def commit(self, plan: PassPlan) -> None:
        """Close a clean pass or a recache: if it made the sink, remember the sink's keys as they were made."""
        if plan.writes_sink:
            self.sink_keys_LBTHD.copy_(self.keys_LBNHD[:, :, : self.sink_keys_LBTHD.shape[2]])
            self.sink_shift = 0
