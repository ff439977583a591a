"""Exact copies of a stream's cache in host memory: the instant way back to a block.

A copy holds bits, not meaning: it is valid only for the block it was taken at, which its owner keeps beside it.
The decoder's state belongs to the same copy (design section 1). Knows no session.
"""

from dataclasses import dataclass

from torch import Tensor

from cache.kv import KVCache


@dataclass(frozen=True, slots=True)
class CacheSnapshot:
    """Keys and values of the slots in use, and where the sink stood."""

    keys_LBTHD: Tensor
    values_LBTHD: Tensor
    sink_keys_LBTHD: Tensor
    sink_shift: int

    @property
    def bytes(self) -> int:
        """Host memory that the copy holds."""
        return sum(tensor.nbytes for tensor in (self.keys_LBTHD, self.values_LBTHD, self.sink_keys_LBTHD))


def take_snapshot(cache: KVCache, valid_slots: int) -> CacheSnapshot:
    """Copy the first `valid_slots` slots to host memory."""
    tokens = valid_slots * cache.shape.tokens_per_frame
    return CacheSnapshot(
        cache.keys_LBNHD[:, :, :tokens].to("cpu", copy=True),
        cache.values_LBNHD[:, :, :tokens].to("cpu", copy=True),
        cache.sink_keys_LBTHD.to("cpu", copy=True),
        cache.sink_shift,
    )


def put_snapshot(cache: KVCache, snapshot: CacheSnapshot) -> None:
    """Write a copy back into a cache of the same shape."""
    tokens = snapshot.keys_LBTHD.shape[2]
    # Said here because a copy would broadcast a single layer or head without a word.
    assert cache.keys_LBNHD[:, :, :tokens].shape == snapshot.keys_LBTHD.shape, snapshot.keys_LBTHD.shape
    assert cache.sink_keys_LBTHD.shape == snapshot.sink_keys_LBTHD.shape, snapshot.sink_keys_LBTHD.shape
    cache.keys_LBNHD[:, :, :tokens].copy_(snapshot.keys_LBTHD)
    cache.values_LBNHD[:, :, :tokens].copy_(snapshot.values_LBTHD)
    cache.sink_keys_LBTHD.copy_(snapshot.sink_keys_LBTHD)
    cache.sink_shift = snapshot.sink_shift
