"""Counter-based noise: a function of its key and nothing else, different for each key, standard normal."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import SeedError
from models.noise import MAX_SEED, NoiseKey, check_seed, draw_noise

KEY = NoiseKey(seed=7, take=2, block=11, attempt=1, step=3)
SHAPE = (1, 3, 4, 6, 6)
GOLDEN_FIRST = (0.059911035001277924, 0.015559634193778038, -1.1644384860992432, -0.13264712691307068)
GOLDEN_SHA256 = "65582606eb36c83591077dc4ab9995ac187320bae579226a6b32f44577491414"
SWAPS = ((1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 1, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 0))
fields = st.sampled_from(("seed", "take", "block", "attempt", "step"))


def digest(key: NoiseKey, shape: tuple[int, ...] = SHAPE) -> str:
    return hashlib.sha256(draw_noise(key, shape).numpy().tobytes()).hexdigest()


def test_golden_values() -> None:
    """Takes that were recorded must be made again: these bits may never change."""
    first = draw_noise(NoiseKey(seed=0, take=0, block=0, attempt=0, step=0), (4,))
    assert first.tolist() == list(GOLDEN_FIRST)
    assert digest(KEY) == GOLDEN_SHA256


@given(st.permutations(range(12)))
@settings(max_examples=20)
def test_the_order_of_calls_is_not_felt(order: list[int]) -> None:
    keys = [replace(KEY, block=number // 3, step=number % 3) for number in range(12)]
    torch.manual_seed(order[0])
    np.random.default_rng(order[1])
    drawn = {number: digest(keys[number], (5,)) for number in order}
    assert [drawn[number] for number in range(12)] == [digest(key, (5,)) for key in keys]


def test_the_process_wide_generators_are_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = draw_noise(KEY, SHAPE)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(draw_noise(KEY, SHAPE), one)


@given(fields, st.integers(1, 2**31))
@settings(max_examples=50)
def test_every_part_of_the_key_is_felt(name: str, change: int) -> None:
    other = replace(KEY, **{name: getattr(KEY, name) + change})
    assert (draw_noise(KEY, SHAPE) == draw_noise(other, SHAPE)).float().mean() < 0.01


def test_swapped_parts_are_other_keys() -> None:
    keys = [NoiseKey(seed=a, take=b, block=c, attempt=d, step=e) for a, b, c, d, e in SWAPS]
    assert len({digest(key) for key in keys}) == len(keys)


def test_draws_do_not_overlap() -> None:
    """A long draw of one key does not run into the next key's."""
    long = draw_noise(KEY, (100_000,)).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(long, 4)
    for name in ("step", "attempt", "block", "take"):
        start = draw_noise(replace(KEY, **{name: getattr(KEY, name) + 1}), (4,)).numpy()
        assert not (windows == start).all(axis=1).any()


def test_standard_normal() -> None:
    noise = draw_noise(KEY, (500_000,)).double()
    assert abs(noise.mean()) < 0.005
    assert abs(noise.std() - 1) < 0.005
    assert abs(noise.pow(3).mean()) < 0.02
    assert abs(noise.pow(4).mean() - 3) < 0.05
    for bound, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert abs((noise.abs() < bound).double().mean() - share) < 0.003


def test_steps_and_blocks_are_uncorrelated() -> None:
    keys = [replace(KEY, step=step, block=block) for step in range(3) for block in range(3)]
    drawn = torch.stack([draw_noise(key, (50_000,)) for key in keys])
    assert (torch.corrcoef(drawn) - torch.eye(9)).abs().max() < 0.02


def test_on_the_host_in_float32_and_of_the_shape_asked() -> None:
    noise = draw_noise(KEY, SHAPE)
    assert (noise.shape, noise.dtype, noise.device.type) == (SHAPE, torch.float32, "cpu")
    assert draw_noise(replace(KEY, seed=MAX_SEED, block=2**40), SHAPE).isfinite().all()


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED])
def test_seeds(seed: int) -> None:
    check_seed(seed)
    draw_noise(replace(KEY, seed=seed), (2,))


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 2**64, 1.5, True, "7", None])
def test_other_seeds_are_refused(seed: int) -> None:
    with pytest.raises(SeedError, match=r"seed must be a whole number in 0\.\.9223372036854775807, not") as caught:
        check_seed(seed)
    assert (caught.value.field, caught.value.code) == ("seed", "seed_invalid")
