"""Intervals: Wilson's own numbers, and ratios of what belongs together."""

import pytest

from models.train.eval.shares import ratio_of, share_of


def test_wilson_s_interval() -> None:
    """9 of 10: 0.596 to 0.982, as the formula's published examples have it."""
    found = share_of([1.0] * 9 + [0.0])
    assert (found.value, found.total) == (0.9, 10)
    assert found.low == pytest.approx(0.5958, abs=2e-4)
    assert found.high == pytest.approx(0.9821, abs=2e-4)


@pytest.mark.parametrize("all_of", [0.0, 1.0])
def test_the_ends_hold_their_value(all_of: float) -> None:
    found = share_of([all_of] * 20)
    assert found.low <= found.value <= found.high
    assert found.high - found.low == pytest.approx(0.161, abs=1e-3)


def test_more_takes_say_more() -> None:
    few, many = share_of([1.0, 0.0] * 5), share_of([1.0, 0.0] * 500)
    assert few.high - few.low > 5 * (many.high - many.low)


def test_nothing_says_nothing() -> None:
    assert (share_of([]).total, share_of([]).low, share_of([]).high) == (0, 0.0, 1.0)
    assert ratio_of([], []).total == 0


def test_chance_taken_out() -> None:
    found = share_of([1.0, 1.0, 0.0, 0.0]).without_chance(4)
    assert found.value == pytest.approx((0.5 - 0.25) / 0.75)
    assert share_of([1.0] * 4).without_chance(3).value == 1.0


def test_a_ratio_of_what_belongs_together_is_certain() -> None:
    """Jumps differ from take to take, but every one is doubled."""
    under = [1.0, 2.0, 8.0, 3.0]
    found = ratio_of([2 * one for one in under], under)
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
    loose = ratio_of([4.0, 2.0, 9.0, 1.0], under)
    assert loose.low < loose.value < loose.high
    assert loose == ratio_of([4.0, 2.0, 9.0, 1.0], under)
