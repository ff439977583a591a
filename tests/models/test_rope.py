"""Rotary positions against the published formula in complex float64, and the symmetries that the cache relies on."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.rope import Rotation, axis_pairs, rotate, time_rotation, video_rotation

HEAD_DIM = 128


def draw(tokens: int, seed: int = 0, head_dim: int = HEAD_DIM) -> Tensor:
    """[1, N, 2 heads, D]"""
    return torch.randn(1, tokens, 2, head_dim, generator=torch.Generator().manual_seed(seed))


def published(x: Tensor, frames: list[int], rows: int, columns: int) -> Tensor:
    """One token at a time: neighbouring pairs as complex numbers, turned by position x 10000^(-2j/D) of each axis."""
    time, height, width = (2 * pairs for pairs in (22, 21, 21))
    out = torch.view_as_complex(x.double().view(*x.shape[:-1], -1, 2).contiguous()).clone()
    places = [(frame, row, column) for frame in frames for row in range(rows) for column in range(columns)]
    for token, place in enumerate(places):
        angles = [
            position * 10_000.0 ** (-2 * j / dim)
            for position, dim in zip(place, (time, height, width), strict=True)
            for j in range(dim // 2)
        ]
        turn = torch.polar(torch.ones(HEAD_DIM // 2, dtype=torch.float64), torch.tensor(angles, dtype=torch.float64))
        out[:, token] *= turn
    return torch.view_as_real(out).flatten(-2)


def dots(q: Tensor, k: Tensor) -> Tensor:
    return torch.einsum("bnhd,bmhd->bhnm", q.double(), k.double())


def test_pairs_of_the_axes() -> None:
    assert axis_pairs(128) == (22, 21, 21)
    assert axis_pairs(64) == (12, 10, 10)
    assert axis_pairs(12) == (2, 2, 2)
    for width in range(2, 200, 2):
        assert sum(axis_pairs(width)) == width // 2


def test_as_published() -> None:
    frames = [0, 7, 1022]
    x = draw(3 * 2 * 5)
    turned = rotate(x, video_rotation(HEAD_DIM, frames, rows=2, columns=5))
    assert (turned - published(x, frames, 2, 5)).abs().max() < 1e-6


def test_the_first_token_of_frame_0_stands_still() -> None:
    x = draw(4)
    turned = rotate(x, video_rotation(HEAD_DIM, [0], rows=2, columns=2))
    assert torch.equal(turned[:, 0], x[:, 0])
    assert not torch.equal(turned[:, 1], x[:, 1])


@settings(max_examples=40)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(-500, 5000))
def test_only_distances_in_time_are_felt(query: int, key: int, shift: int) -> None:
    q, k = draw(6, 1), draw(6, 2)
    here = [video_rotation(HEAD_DIM, [frame], rows=2, columns=3) for frame in (query, key)]
    there = [video_rotation(HEAD_DIM, [frame + shift], rows=2, columns=3) for frame in (query, key)]
    before = dots(rotate(q, here[0]), rotate(k, here[1]))
    after = dots(rotate(q, there[0]), rotate(k, there[1]))
    assert (before - after).abs().max() < 1e-4
    assert (rotate(q, here[0]).norm(dim=-1) - q.norm(dim=-1)).abs().max() < 1e-4


def test_distances_are_felt() -> None:
    q, k = draw(1, 1), draw(1, 2)
    places = [video_rotation(HEAD_DIM, [frame], rows=1, columns=1) for frame in range(4)]
    scores = [dots(rotate(q, places[0]), rotate(k, place)).flatten() for place in places]
    assert all((a - b).abs().min() > 1e-3 for a, b in pairwise(scores))


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(-1000, 4000), st.integers(-1000, 1000))
def test_a_turn_in_time_moves_tokens(frame: int, first: int, second: int) -> None:
    """Turned by a, the key of frame f is that of f + a; turned by a and by b, it is turned by a + b."""
    keys = draw(6)
    at_frame = rotate(keys, video_rotation(HEAD_DIM, [frame], rows=2, columns=3))
    moved = rotate(at_frame, time_rotation(HEAD_DIM, first))
    assert (moved - rotate(keys, video_rotation(HEAD_DIM, [frame + first], rows=2, columns=3))).abs().max() < 1e-5
    twice = rotate(moved, time_rotation(HEAD_DIM, second))
    assert (twice - rotate(at_frame, time_rotation(HEAD_DIM, first + second))).abs().max() < 1e-5


def test_no_turn_changes_no_bit() -> None:
    keys = draw(5)
    assert torch.equal(rotate(keys, time_rotation(HEAD_DIM, 0)), keys)


def test_space_is_not_turned_by_time() -> None:
    keys = draw(3)
    turned = rotate(keys, time_rotation(HEAD_DIM, 17))
    assert torch.equal(turned[..., 44:], keys[..., 44:])
    assert (turned[..., :44] - keys[..., :44]).abs().max() > 0.1


def test_frames_may_stand_anywhere_and_in_any_order() -> None:
    """A rotation of several frames is those of the single ones after each other."""
    frames = [5, 2, 900]
    whole = video_rotation(24, frames, rows=2, columns=3)
    single = [video_rotation(24, [frame], rows=2, columns=3) for frame in frames]
    assert torch.equal(whole.cos_N1P, torch.cat([one.cos_N1P for one in single]))
    assert torch.equal(whole.sin_N1P, torch.cat([one.sin_N1P for one in single]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    keys = draw(4).to(dtype)
    turned = rotate(keys, time_rotation(HEAD_DIM, 3))
    assert turned.dtype == dtype
    exact = rotate(keys.float(), time_rotation(HEAD_DIM, 3))
    assert torch.equal(turned, exact.to(dtype)), "computed in float32, rounded once"


def test_all_layers_are_turned_at_once() -> None:
    """The sink's keys of all layers [L, B, T, H, D] take the same turn."""
    keys = torch.stack([draw(6, seed) for seed in range(3)])
    turned = rotate(keys, time_rotation(HEAD_DIM, 9))
    for layer in range(3):
        assert torch.equal(turned[layer], rotate(keys[layer], time_rotation(HEAD_DIM, 9)))


def test_a_rotation_moves_between_devices() -> None:
    rotation = time_rotation(24, 2).to("meta")
    assert isinstance(rotation, Rotation)
    assert rotation.cos_N1P.is_meta
    assert rotation.sin_N1P.is_meta
