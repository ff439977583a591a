"""Keys and values in place: what is written where, nothing allocated, the sink turned from its base."""

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cache.kv import CacheShape, KVCache
from cache.window import PassPlan, Positions, Span, WindowSpec, WindowState

SHAPE = CacheShape(layers=2, heads=2, head_dim=4, tokens_per_frame=3, batch=2)
SPECS = (
    WindowSpec(),
    WindowSpec(positions="absolute"),
    WindowSpec(window_frames=8, sink_frames=1),
    WindowSpec(window_frames=7, sink_frames=2, block_frames=2),
    WindowSpec(window_frames=7, sink_frames=0),
)


def new_cache(spec: WindowSpec | None = None, dtype: torch.dtype = torch.float32) -> KVCache:
    return KVCache(spec or WindowSpec(), SHAPE, dtype=dtype)


def turn(keys: Tensor, shift: int) -> Tensor:
    """Stands for a rotation: not exact in low precision, so that turning twice differs from turning once."""
    return (keys.float() * (1 + shift / 7)).to(keys.dtype)


def still(keys: Tensor, shift: int) -> Tensor:
    return keys.clone()


def frames(first: int, count: int, layer: int) -> Tensor:
    """Keys [B, T, H, D] whose numbers say frame, token and layer."""
    numbers = torch.arange(first, first + count).repeat_interleave(SHAPE.tokens_per_frame).float()
    tokens = torch.arange(SHAPE.tokens_per_frame).repeat(count) / 10
    keys = (numbers + tokens + 1000 * layer)[None, :, None, None]
    return keys.expand(SHAPE.batch, -1, SHAPE.heads, SHAPE.head_dim)


def write_all(cache: KVCache, plan: PassPlan) -> None:
    for layer in range(SHAPE.layers):
        keys = frames(plan.first_frame, plan.frames, layer)
        cache.write(layer, keys, -keys, plan=plan)


def run_clean(cache: KVCache, plan: PassPlan) -> None:
    cache.begin(plan, still)
    write_all(cache, plan)
    cache.commit(plan)


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_read_is_what_the_window_holds(spec: WindowSpec) -> None:
    cache, state = new_cache(spec), WindowState(spec)
    for _ in range(12):
        plan = state.plan_block()
        run_clean(cache, plan)
        state = state.advance()
        ring = range(max(spec.sink_frames, state.end - spec.ring), state.end)
        held = [*range(spec.sink_frames), *ring]
        for layer in range(SHAPE.layers):
            keys, values = cache.read(layer, plan=plan)
            expected = torch.cat([frames(frame, 1, layer) for frame in held], dim=1)
            assert torch.equal(keys.sort(dim=1).values, expected)
            assert torch.equal(values, -keys)


@settings(max_examples=60)
@given(st.integers(0, 6), st.integers(1, 7), st.integers(0, 6))
def test_spans_of_a_pass_go_to_their_slots(first_slot: int, length: int, second_slot: int) -> None:
    """A pass whose frames wrap around the ring's end is written in two pieces, and nothing else is touched."""
    cache = new_cache(WindowSpec(window_frames=14, sink_frames=0))
    spans = (Span(0, 7 + first_slot, min(length, 7 - first_slot)), Span(min(length, 7 - first_slot), second_slot, 1))
    total = spans[0].length + 1
    plan = PassPlan(20, total, spans, valid_slots=14, sink_shift=0, writes_sink=False)
    keys = frames(20, total, 0)
    cache.write(0, keys, keys, plan=plan)
    expected = torch.zeros_like(cache.keys_LBNHD)
    for span in spans:
        for offset in range(span.length):
            slot = slice(3 * (span.slot + offset), 3 * (span.slot + offset + 1))
            expected[0, :, slot] = frames(20 + span.start + offset, 1, 0)
    assert torch.equal(cache.keys_LBNHD, expected)
    assert torch.equal(cache.values_LBNHD, expected)


def test_a_pass_that_wraps() -> None:
    """With a ring of five frames and blocks of two, the third block lies at both ends."""
    spec = WindowSpec(window_frames=7, sink_frames=2, block_frames=2)
    plan = WindowState(spec).advance(3).plan_block()
    assert plan.writes == (Span(0, 6, 1), Span(1, 2, 1))
    cache = new_cache(spec)
    cache.write(1, frames(6, 2, 1), frames(6, 2, 1), plan=plan)
    assert torch.equal(cache.keys_LBNHD[1, :, 18:21], frames(6, 1, 1))
    assert torch.equal(cache.keys_LBNHD[1, :, 6:9], frames(7, 1, 1))
    assert cache.keys_LBNHD[0].count_nonzero() == 0


def held_by_tensors() -> int:
    gc.collect()
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in gc.get_objects()
        if type(tensor) is Tensor
    }
    return sum(storages.values())


def test_everything_happens_in_place() -> None:
    cache, state = new_cache(), WindowState(WindowSpec())
    tensors = (cache.keys_LBNHD, cache.values_LBNHD, cache.sink_keys_LBTHD)
    places = [tensor.data_ptr() for tensor in tensors]
    before = held_by_tensors()
    for block in range(200):
        plan = state.plan_block()
        cache.begin(plan, turn)
        write_all(cache, plan)
        cache.commit(plan)
        state = state.advance()
        if block == 100:
            recache = state.plan_recache("refresh")
            state = recache.state
            run_clean(cache, recache.plan)
        keys, _ = cache.read(1, plan=plan)
        assert keys.data_ptr() == cache.keys_LBNHD[1].data_ptr(), "what is read is a view"
    del keys
    assert held_by_tensors() <= before
    assert (cache.keys_LBNHD, cache.values_LBNHD, cache.sink_keys_LBTHD) == tensors
    assert [tensor.data_ptr() for tensor in tensors] == places


def test_writing_after_reading_is_seen() -> None:
    cache = new_cache()
    plan = WindowState(WindowSpec()).plan_block()
    keys, values = cache.read(0, plan=plan)
    write_all(cache, plan)
    assert torch.equal(keys, frames(0, 3, 0))
    assert torch.equal(values, -keys)


def test_turning_the_sink_does_not_add_up_errors() -> None:
    """A thousand times to another place and once: the same bits, in a dtype in which turning rounds."""
    long, short = new_cache(dtype=torch.bfloat16), new_cache(dtype=torch.bfloat16)
    state = WindowState(WindowSpec())
    for cache in (long, short):
        run_clean(cache, state.plan_block())
    for blocks in range(1, 1001):
        long.begin(state.advance(blocks).plan_block(), turn)
    last = state.advance(1000).plan_block()
    short.begin(last, turn)
    assert last.sink_shift == 3 * 1000 + 3 - 12
    assert torch.equal(long.keys_LBNHD, short.keys_LBNHD)
    assert torch.equal(short.keys_LBNHD[:, :, :9], turn(short.sink_keys_LBTHD, last.sink_shift))
    # The comparison means something: turned step by step, the sink ends elsewhere.
    stepwise = turn(turn(short.sink_keys_LBTHD, 3), last.sink_shift - 3)
    assert not torch.equal(stepwise, short.keys_LBNHD[:, :, :9])


def test_the_sink_is_turned_only_when_it_moves() -> None:
    cache, state, shifts = new_cache(), WindowState(WindowSpec()), []

    def counted(keys: Tensor, shift: int) -> Tensor:
        shifts.append(shift)
        return turn(keys, shift)

    for _ in range(6):
        plan = state.plan_block()
        for _ in range(4):
            cache.begin(plan, counted)
        write_all(cache, plan)
        cache.commit(plan)
        state = state.advance()
    assert shifts == [3, 6]
    assert cache.sink_shift == 6


def test_values_and_ring_are_not_turned() -> None:
    cache, state = new_cache(), WindowState(WindowSpec())
    for _ in range(4):
        run_clean(cache, state.plan_block())
        state = state.advance()
    before = cache.keys_LBNHD.clone(), cache.values_LBNHD.clone()
    cache.begin(state.plan_block(), turn)
    assert torch.equal(cache.values_LBNHD, before[1])
    assert torch.equal(cache.keys_LBNHD[:, :, 9:], before[0][:, :, 9:])
    assert not torch.equal(cache.keys_LBNHD[:, :, :9], before[0][:, :, :9])


def test_a_pass_that_makes_the_sink_begins_and_ends_unturned() -> None:
    cache, state = new_cache(), WindowState(WindowSpec())
    run_clean(cache, state.plan_block())
    cache.begin(state.advance(9).plan_block(), turn)
    assert cache.sink_shift == 18
    refresh = state.advance(9).plan_recache("refresh").plan
    before = cache.keys_LBNHD.clone()
    cache.begin(refresh, turn)
    assert torch.equal(cache.keys_LBNHD, before), "the old sink is about to be overwritten: it is not turned first"
    run_clean(cache, refresh)
    assert cache.sink_shift == 0
    assert torch.equal(cache.sink_keys_LBTHD[0], frames(15, 3, 0))
    assert torch.equal(cache.keys_LBNHD[0, :, :9], frames(15, 3, 0))


def test_only_the_sinks_own_pass_is_remembered_as_its_base() -> None:
    cache, state = new_cache(), WindowState(WindowSpec())
    run_clean(cache, state.plan_block())
    base = cache.sink_keys_LBTHD.clone()
    for blocks in range(1, 8):
        plan = state.advance(blocks).plan_block()
        cache.begin(plan, turn)
        write_all(cache, plan)
        cache.commit(plan)
    assert torch.equal(cache.sink_keys_LBTHD, base)


def test_noisy_passes_leave_no_trace() -> None:
    """The clean pass writes the slots that the noisy ones wrote; the sink's base is taken when it is committed."""
    noisy, clean = new_cache(), new_cache()
    state = WindowState(WindowSpec())
    for _ in range(6):
        plan = state.plan_block()
        for step in range(3):
            noisy.begin(plan, turn)
            for layer in range(SHAPE.layers):
                noise = frames(500 + step, 3, layer)
                noisy.write(layer, noise, noise, plan=plan)
        for cache in (noisy, clean):
            cache.begin(plan, turn)
            write_all(cache, plan)
            cache.commit(plan)
        state = state.advance()
    assert torch.equal(noisy.keys_LBNHD, clean.keys_LBNHD)
    assert torch.equal(noisy.values_LBNHD, clean.values_LBNHD)
    assert torch.equal(noisy.sink_keys_LBTHD, clean.sink_keys_LBTHD)


def test_writing_the_wrong_number_of_tokens_is_loud() -> None:
    cache, plan = new_cache(), WindowState(WindowSpec()).plan_block()
    with pytest.raises(AssertionError):
        cache.write(0, frames(0, 2, 0), frames(0, 2, 0), plan=plan)
    with pytest.raises(AssertionError):
        cache.write(0, frames(0, 3, 0), frames(0, 2, 0), plan=plan)
    assert cache.keys_LBNHD.count_nonzero() == 0


@pytest.mark.parametrize("positions", ["relative", "absolute"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bytes_that_are_promised_are_allocated(positions: Positions, dtype: torch.dtype) -> None:
    for window, sink in ((12, 3), (6, 0), (8, 1)):
        spec = WindowSpec(window_frames=window, sink_frames=sink, positions=positions)
        cache = new_cache(spec, dtype)
        tensors = (cache.keys_LBNHD, cache.values_LBNHD, cache.sink_keys_LBTHD)
        assert SHAPE.bytes(spec, dtype) == sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def test_the_published_size() -> None:
    """3.2135 GiB for twelve frames of the 1.3B in bfloat16 (longlive-spec 2.3); the sink's base comes on top."""
    shape = CacheShape(layers=30, heads=12, head_dim=128, tokens_per_frame=1560)
    absolute = shape.bytes(WindowSpec(positions="absolute"), torch.bfloat16)
    assert absolute == 2 * 30 * 12 * 1560 * 12 * 128 * 2
    assert round(absolute / 2**30, 4) == 3.2135
    assert shape.bytes(WindowSpec(), torch.bfloat16) * 8 == absolute * 9
