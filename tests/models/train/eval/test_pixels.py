"""Pixel measures see what they are for, and are not fooled by its neighbours."""

import numpy as np

from models.train.eval.pixels import (
    REFERENCE_BLOCKS,
    Frames,
    Stillness,
    find_cuts,
    jumps_of,
    saturation_of,
    sharpness_of,
)


def grey(*values: int, size: int = 8) -> Frames:
    return np.stack([np.full((size, size, 3), value, dtype=np.uint8) for value in values])


def test_jumps_go_over_the_border_of_blocks() -> None:
    assert jumps_of(grey(10, 13), None) == [0.0, 3.0]
    assert jumps_of(grey(250, 0), grey(10)[0]) == [240.0, 250.0]


def test_sharpness_is_of_edges_and_saturation_of_colour() -> None:
    flat = grey(100)[0]
    checks = flat.copy()
    checks[::2, ::2] = 120
    assert (sharpness_of(flat), saturation_of(flat)) == (0.0, 0.0)
    assert sharpness_of(checks) > 0
    red = flat.copy()
    red[..., 0] = 220
    assert saturation_of(red) == 120.0


def test_a_cut_is_found_where_it_is() -> None:
    jumps = [0.0, *[2.0] * 20]
    jumps[14] = 40.0
    assert find_cuts(jumps) == [14]


def test_noise_and_motion_are_no_cuts() -> None:
    noise = [0.0, *[0.2] * 20]
    noise[7] = 5.0  # many times the median, and still nothing to see
    motion = [0.0, *[12.0, 30.0] * 10]
    fade = [0.0, *[2.0] * 6, *[15.0] * 6, *[2.0] * 6]
    assert find_cuts(noise) == find_cuts(motion) == find_cuts([0.0, 3.0]) == []
    assert len(find_cuts(fade)) <= 6


def test_two_cuts_close_together_are_both_found() -> None:
    jumps = [0.0, *[1.0] * 24]
    jumps[10] = jumps[13] = 30.0
    assert find_cuts(jumps) == [10, 13]


def test_drift_is_held_against_the_beginning() -> None:
    still = Stillness(4)
    for value in (90, 100, 100, 100, 100, 103, 110):
        still.feed(grey(value, value))
    assert still.drift == [0.0] * (1 + REFERENCE_BLOCKS) + [0.0, 3.0, 10.0]


def test_grain_counts_in_single_frames_only() -> None:
    still = Stillness(8)
    for _ in range(1 + REFERENCE_BLOCKS):
        still.feed(grey(100, 100))
    still.feed(grey(96, 104))
    assert (still.drift[-1], still.distance[-1]) == (0.0, 4.0)


def test_only_the_rows_that_stand_still_are_looked_at() -> None:
    told, found = Stillness(4), Stillness(0)
    generator = np.random.default_rng(1)
    for block in range(1 + REFERENCE_BLOCKS + 2):
        frames = grey(100, 100, 100, 100)
        frames[:, 4:] = generator.integers(0, 255, (4, 4, 8, 3))
        frames[:, :4] += 7 if block == REFERENCE_BLOCKS + 2 else 0
        told.feed(frames)
        found.feed(frames)
    assert told.drift[-2:] == found.drift[-2:] == [0.0, 7.0]
