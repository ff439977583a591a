"""Passes recorded once and played again: one call for the thousand launches of a pass.

A recording knows addresses: those of the stream's cache and text, and of buffers of its own that the inputs of each
pass are copied into. It is found again by these addresses and the shapes, so memory that was given back and taken
again is no danger. The number of recordings is bounded. What is played is what was recorded, bit for bit. Knows no
stream. Never run on a GPU so far: tests play a function again in place of a graph.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor

from models.hot import BakedTime, HotPath
from models.kernels.forms import FusedInputs, Turn
from models.transformer import PassContext

MAX_RECORDINGS: Final = 32
"""One for each stream with a full window; the one that was played longest ago gives way."""

Play: TypeAlias = Callable[[], Tensor]
Record: TypeAlias = Callable[[Play], Play]
"""Makes a recording of a function that reads and writes fixed memory. What is played gives the same tensor again."""
Key: TypeAlias = tuple[int | torch.Size, ...]


@dataclass(frozen=True, slots=True)
class _Recording:
    latents: Tensor
    time: BakedTime
    turn: Turn
    play: Play


class GraphedPath:
    """In place of `HotPath.__call__`, for passes over a full window; others go by the path itself."""

    def __init__(self, path: HotPath, record: Record, *, limit: int = MAX_RECORDINGS) -> None:
        self.path = path
        self._record = record
        self._limit = limit
        self._recordings: OrderedDict[Key, _Recording] = OrderedDict()

    def __call__(self, latents_BFCHW: Tensor, *, time: BakedTime, context: PassContext) -> Tensor:
        key = _key(latents_BFCHW, time, context)
        found = self._recordings.get(key)
        if found is None:
            found = self._recordings[key] = self._recorded(latents_BFCHW, time=time, context=context)
            if len(self._recordings) > self._limit:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        fused = context.fused
        assert fused is not None, "prepared for the hot path"
        given = (latents_BFCHW, time.layers_LBF6C, time.ends_BF2C, *fused.turn)
        kept = (found.latents, found.time.layers_LBF6C, found.time.ends_BF2C, *found.turn)
        for target, source in zip(kept, given, strict=True):
            target.copy_(source)
        # The next pass of this stream writes the same memory.
        return found.play().clone()

    def _recorded(self, latents_BFCHW: Tensor, *, time: BakedTime, context: PassContext) -> _Recording:
        assert context.fused is not None, "prepared for the hot path"
        latents = latents_BFCHW.clone()
        own = BakedTime(time.blocks_BF6C, time.head_BFC, time.layers_LBF6C.clone(), time.ends_BF2C.clone())
        turn = Turn(*(tensor.clone() for tensor in context.fused.turn))
        fixed = PassContext(
            context.rope, context.text, context.attend, context.kernel, FusedInputs(turn, context.fused.layers)
        )
        return _Recording(latents, own, turn, self._record(lambda: self.path(latents, time=own, context=fixed)))


def _key(latents_BFCHW: Tensor, time: BakedTime, context: PassContext) -> Key:
    assert context.fused is not None, "prepared for the hot path"
    memory, text = context.fused.layers[0], context.text
    tensors = (*memory, text.keys_LBTHD, text.values_LBTHD)
    places = tuple(tensor.data_ptr() for tensor in tensors)
    return (*places, *(tensor.shape for tensor in tensors), latents_BFCHW.shape, time.layers_LBF6C.shape)


def record_graph(function: Play) -> Play:
    """A CUDA graph of a function, all of which must be on the device."""
    # Once outside of the recording: what is compiled or measured at a first call must not be recorded.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = function()

    def play() -> Tensor:
        graph.replay()
        return out

    return play
