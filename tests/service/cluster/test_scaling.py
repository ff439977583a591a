"""How many workers: who waits and who is late brings one at once, what is not needed goes after a while."""

import pytest

from service.cluster.scaling import Bounds, Load, Scaling

BOUNDS = Bounds(least=1, most=4, places=2, late_share=0.1, idle_seconds=60.0)


def load(sessions: int = 0, waiting: int = 0, chunks: int = 0, late: int = 0) -> Load:
    return Load(sessions=sessions, waiting=waiting, chunks=chunks, late=late)


@pytest.mark.parametrize(
    ("now", "workers", "wanted"),
    [
        (load(), 0, 1),
        (load(sessions=2), 1, 1),
        (load(sessions=2, waiting=1), 1, 2),
        (load(sessions=2, waiting=4), 1, 3),
        (load(sessions=8, waiting=50), 4, 4),
        (load(sessions=2, chunks=100, late=10), 1, 1),
        (load(sessions=2, chunks=100, late=11), 1, 2),
        (load(sessions=2, chunks=100, late=11), 4, 4),
    ],
)
def test_a_load_wants_so_many(now: Load, workers: int, wanted: int) -> None:
    assert Scaling(BOUNDS).wanted(now, workers=workers, now=0.0) == wanted


def test_one_at_a_time_goes_after_a_while_without_need() -> None:
    scaling = Scaling(BOUNDS)
    asked = [scaling.wanted(load(), workers=3, now=now) for now in (0.0, 59.0, 60.0, 61.0, 119.0)]
    assert asked == [3, 3, 2, 3, 3]


def test_need_in_between_begins_the_while_anew() -> None:
    scaling = Scaling(BOUNDS)
    times = ((0.0, load()), (30.0, load(sessions=6)), (61.0, load()), (120.0, load()), (121.0, load()))
    assert [scaling.wanted(now, workers=3, now=at) for at, now in times] == [3, 3, 3, 3, 2]


def test_never_fewer_than_the_least() -> None:
    scaling = Scaling(BOUNDS)
    assert [scaling.wanted(load(), workers=1, now=now) for now in (0.0, 1000.0)] == [1, 1]
