"""The token bucket: a burst, then the rate, and clocks that stand still."""

from hypothesis import given
from hypothesis import strategies as st

from service.api.rate import TokenBucket


def test_a_burst_then_one_for_each_interval() -> None:
    bucket = TokenBucket(2.0, 3, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert bucket.take(10.25) == 0.25
    assert bucket.take(10.5) == 0.0
    assert bucket.take(10.5) == 0.5


def test_tokens_do_not_pile_up() -> None:
    bucket = TokenBucket(10.0, 2, now=0.0)
    assert [bucket.take(1e9) for _ in range(3)] == [0.0, 0.0, 0.1]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(1.0, 1, now=5.0)
    assert bucket.take(5.0) == 0.0
    assert bucket.take(1.0) == 1.0
    assert bucket.take(6.0) == 0.0


@given(st.lists(st.floats(0, 2), max_size=200), st.floats(0.5, 100), st.integers(1, 50))
def test_never_more_than_burst_and_rate_allow(gaps: list[float], rate: float, burst: int) -> None:
    bucket, now, passed = TokenBucket(rate, burst, now=0.0), 0.0, 0
    for gap in gaps:
        now += gap
        passed += bucket.take(now) == 0.0
    assert passed <= burst + rate * now + 1e-6
