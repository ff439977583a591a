"""Copies of a cache: bit for bit, independent of it, and no larger than what is in use."""

from dataclasses import replace

import pytest
import torch

from cache.kv import CacheShape, KVCache
from cache.snapshot import put_snapshot, take_snapshot
from cache.window import Positions, WindowSpec

SHAPE = CacheShape(layers=2, heads=2, head_dim=4, tokens_per_frame=3)


def filled(seed: int, positions: Positions = "relative", dtype: torch.dtype = torch.float32) -> KVCache:
    cache = KVCache(WindowSpec(positions=positions), SHAPE, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    for tensor in (cache.keys_LBNHD, cache.values_LBNHD, cache.sink_keys_LBTHD):
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    cache.sink_shift = seed
    return cache


@pytest.mark.parametrize("positions", ["relative", "absolute"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("valid", [0, 3, 7, 12])
def test_a_copy_comes_back_bit_for_bit(positions: Positions, dtype: torch.dtype, valid: int) -> None:
    source, target = filled(5, positions, dtype), filled(6, positions, dtype)
    places = target.keys_LBNHD.data_ptr(), target.values_LBNHD.data_ptr(), target.sink_keys_LBTHD.data_ptr()
    put_snapshot(target, take_snapshot(source, valid))
    tokens = 3 * valid
    untouched = filled(6, positions, dtype)
    for name in ("keys_LBNHD", "values_LBNHD"):
        mine, theirs, before = (getattr(cache, name) for cache in (target, source, untouched))
        assert torch.equal(mine[:, :, :tokens], theirs[:, :, :tokens])
        assert torch.equal(mine[:, :, tokens:], before[:, :, tokens:]), "slots not in use stay as they are"
    assert torch.equal(target.sink_keys_LBTHD, source.sink_keys_LBTHD)
    assert target.sink_shift == source.sink_shift == 5
    assert places == (
        target.keys_LBNHD.data_ptr(),
        target.values_LBNHD.data_ptr(),
        target.sink_keys_LBTHD.data_ptr(),
    )


def test_a_copy_does_not_change_with_the_cache() -> None:
    cache = filled(1)
    snapshot = take_snapshot(cache, 12)
    for tensor in (cache.keys_LBNHD, cache.values_LBNHD, cache.sink_keys_LBTHD):
        tensor.zero_()
    put_snapshot(cache, snapshot)
    assert torch.equal(cache.keys_LBNHD, filled(1).keys_LBNHD)
    cache.keys_LBNHD.zero_()
    assert torch.equal(snapshot.slots[0], filled(1).keys_LBNHD), "nor when it was put back"


def test_a_copy_holds_what_is_in_use_and_says_how_much() -> None:
    whole = take_snapshot(filled(1), 12)
    assert whole.bytes == SHAPE.bytes(WindowSpec(), torch.float32)
    part = take_snapshot(filled(1), 4)
    token = SHAPE.layers * SHAPE.heads * SHAPE.head_dim * 4
    assert part.bytes == (2 * 4 + 3) * SHAPE.tokens_per_frame * token
    tensors = (*part.slots, *part.sink)
    assert sum(tensor.untyped_storage().nbytes() for tensor in tensors) == part.bytes, "no slot beyond is kept alive"


@pytest.mark.parametrize("change", [{"layers": 1}, {"heads": 1}, {"tokens_per_frame": 2}, {"batch": 2}])
def test_a_copy_of_another_shape_is_refused_loudly(change: dict[str, int]) -> None:
    """A single layer or head would otherwise be spread over all of them."""
    other = KVCache(WindowSpec(), replace(SHAPE, **change), dtype=torch.float32)
    with pytest.raises(AssertionError):
        put_snapshot(filled(1), take_snapshot(other, 12))
    with pytest.raises(AssertionError):
        put_snapshot(other, take_snapshot(filled(1), 12))


def test_a_copy_from_other_positions_is_refused_loudly() -> None:
    """In absolute positions the sink has no base."""
    with pytest.raises(AssertionError):
        put_snapshot(filled(1), take_snapshot(filled(1, "absolute"), 12))
