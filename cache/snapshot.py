"""Exact copies of a stream's cache in host memory: the instant way back to a block.

A copy holds bits, not meaning: it is valid only for the block it was taken at, which its owner keeps beside it.
The decoder's state belongs to the same copy (design section 1). Knows no session.
"""

from dataclasses import dataclass

from torch import Tensor

from cache.kv import KVCache


@dataclass(frozen=True, slots=True)
class CacheSnapshot:
    """Keys and values of the slots in use, in the form in which the cache holds them, and where the sink stood."""

    slots: tuple[Tensor, ...]
    sink: tuple[Tensor, ...]
    sink_shift: int

    @property
    def bytes(self) -> int:
        """Host memory that the copy holds."""
        return sum(tensor.nbytes for tensor in (*self.slots, *self.sink))


def take_snapshot(cache: KVCache, valid_slots: int) -> CacheSnapshot:
    """Copy the first `valid_slots` slots to host memory."""
    tokens = valid_slots * cache.shape.tokens_per_frame
    return CacheSnapshot(
        tuple(tensor[:, :, :tokens].to("cpu", copy=True) for tensor in cache.slot_tensors),
        tuple(tensor.to("cpu", copy=True) for tensor in cache.sink_tensors),
        cache.sink_shift,
    )


def put_snapshot(cache: KVCache, snapshot: CacheSnapshot) -> None:
    """Write a copy back into a cache of the same shape and kind."""
    tokens = snapshot.slots[0].shape[2]
    targets = (*(tensor[:, :, :tokens] for tensor in cache.slot_tensors), *cache.sink_tensors)
    for target, source in zip(targets, (*snapshot.slots, *snapshot.sink), strict=True):
        # Said here because a copy would broadcast a single layer or head, and convert numbers, without a word.
        assert (target.shape, target.dtype) == (source.shape, source.dtype), (target.shape, source.shape)
        target.copy_(source)
    cache.sink_shift = snapshot.sink_shift
