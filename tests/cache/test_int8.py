"""Keys and values in eight bits: how far off, in which slots, what they take, and copies of them."""

import pytest
import torch

from cache.int8 import Int8KVCache, int8_bytes, quantise, widen
from cache.kinds import CACHE_KINDS, cache_bytes, make_cache
from cache.kv import CacheShape, KVCache
from cache.snapshot import put_snapshot, take_snapshot
from cache.window import WindowSpec, WindowState, near_slots

SHAPE = CacheShape(layers=2, heads=3, head_dim=16, tokens_per_frame=5)


def drawn(seed: int, *size: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1e-3, 1.0, 300.0])
def test_a_vector_comes_back_within_half_a_step(size: float) -> None:
    x = size * drawn(1, 4, 7, 3, 16)
    held = quantise(x)
    assert held.codes.dtype == torch.int8
    step = x.abs().amax(-1, keepdim=True) / 127
    # The scale is rounded to ten bits and more, which moves the largest number by as much.
    assert bool(((widen(held, torch.float32) - x).abs() <= 0.5 * step + 2**-10 * x.abs() + 2**-24 * 127).all())


def test_zeros_stay_zeros_and_what_was_quantised_is_quantised_to_itself() -> None:
    assert widen(quantise(torch.zeros(2, 16)), torch.float32).count_nonzero() == 0
    once = widen(quantise(drawn(2, 50, 16)), torch.float32)
    torch.testing.assert_close(widen(quantise(once), torch.float32), once, rtol=1e-3, atol=0)


@pytest.mark.parametrize("positions", ["relative", "absolute"])
def test_every_kind_takes_the_bytes_that_it_is_reckoned_to(positions: str) -> None:
    spec = WindowSpec(positions=positions)  # type: ignore[arg-type]
    for kind in CACHE_KINDS:
        cache = make_cache(kind, spec, shape=SHAPE, dtype=torch.bfloat16)
        held = sum(tensor.nbytes for tensor in (*cache.slot_tensors, *cache.sink_tensors))
        assert held == cache_bytes(kind, spec, shape=SHAPE, dtype=torch.bfloat16)
    full, int8 = (cache_bytes(kind, spec, shape=SHAPE, dtype=torch.bfloat16) for kind in CACHE_KINDS)
    assert int8 / full == (16 + 2) / 32
    assert int8 == int8_bytes(SHAPE, spec)


def filled() -> tuple[KVCache, Int8KVCache]:
    """Seven blocks written to both, the sink turned on the way."""
    spec = WindowSpec()
    plain, int8 = KVCache(spec, SHAPE, dtype=torch.float32), Int8KVCache(spec, SHAPE, dtype=torch.float32)
    state = WindowState(spec)
    for block in range(7):
        plan = state.plan_block()
        for cache in (plain, int8):
            cache.begin(plan, lambda keys, shift: keys.roll(shift, -1))
            for layer in range(SHAPE.layers):
                keys, values = drawn(10 * block + layer, 2, 1, 15, 3, 16)
                cache.write(layer, keys, values, plan=plan)
            cache.commit(plan)
        state = state.advance()
    return plain, int8


def test_the_same_tokens_in_the_same_slots() -> None:
    plain, int8 = filled()
    tokens = 12 * SHAPE.tokens_per_frame
    for layer in range(SHAPE.layers):
        for exact, near in zip(plain.first(layer, tokens=tokens), int8.first(layer, tokens=tokens), strict=True):
            # Half a step of the largest there is; the sink, which was turned, a whole one.
            assert float((exact - near).abs().max()) <= float(exact.abs().max()) / 100
    assert plain.sink_shift == int8.sink_shift != 0


def test_a_copy_comes_back_bit_for_bit_and_not_into_another_kind() -> None:
    plain, int8 = filled()
    copy = take_snapshot(int8, 12)
    assert copy.bytes == int8_bytes(SHAPE, WindowSpec())
    other = Int8KVCache(WindowSpec(), SHAPE, dtype=torch.float32)
    put_snapshot(other, copy)
    pairs = zip((*other.slot_tensors, *other.sink_tensors), (*int8.slot_tensors, *int8.sink_tensors), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    with pytest.raises((AssertionError, ValueError)):
        put_snapshot(plain, copy)


@pytest.mark.parametrize("frames", [6, 7, 9, 11, 12])
@pytest.mark.parametrize("flushed", [False, True])
def test_what_is_near_is_the_sink_and_the_newest(frames: int, flushed: bool) -> None:
    """Held against the slots that the plans themselves wrote the frames to."""
    spec = WindowSpec()
    state = WindowState(spec)
    where: dict[int, int] = {}
    for block in range(12):
        if flushed and block == 7:
            planned = state.plan_flush()
            state = planned.state
            where = {frame: slot for frame, slot in where.items() if frame < spec.sink_frames}
            where |= {state.end - 3 + step: planned.plan.writes[0].slot + step for step in range(3)}
        plan = state.plan_block()
        for span in plan.writes:
            where |= {plan.first_frame + span.start + step: span.slot + step for step in range(span.length)}
        ring = sorted(frame for frame in where if frame >= spec.sink_frames)[-(frames - spec.sink_frames) :]
        sink = [frame for frame in where if frame < spec.sink_frames]
        near = near_slots(plan, spec, frames=frames)
        if plan.valid_slots <= frames:
            assert near == tuple(range(plan.valid_slots))
        else:
            assert near == tuple(sorted(where[frame] for frame in (*sink, *ring)))
        state = state.advance()
