"""Whose turn it is, by simulation: one engine, several sessions, a clock made of numbers."""

import math
from dataclasses import dataclass, field

import pytest

from service.worker.pacing import Pace, RealtimePace, UnpacedPace
from service.worker.scheduler import Scheduler

BLOCK = 0.5


@dataclass(eq=False)
class Viewer:
    """A session as the scheduler sees it, with an endless purse unless it is told otherwise."""

    pace: Pace
    ready: bool = True
    chunks: int = 0
    sent_at: list[float] = field(default_factory=list)

    @property
    def due_at(self) -> float:
        return self.pace.due_at

    @property
    def deadline(self) -> float:
        return self.pace.deadline

    def make(self, finished_at: float) -> None:
        self.pace.made(BLOCK)
        self.pace.sent(self.chunks * BLOCK, finished_at)
        self.sent_at.append(finished_at)
        self.chunks += 1

    @property
    def underruns(self) -> int:
        """Chunks that came after the picture before them had been shown."""
        zero, count = self.sent_at[0], 0
        for number, at in enumerate(self.sent_at):
            if at > zero + number * BLOCK + 1e-9:
                zero, count = at - number * BLOCK, count + 1
        return count


def simulate(viewers: list[Viewer], *, until: float, block_takes: float) -> None:
    scheduler: Scheduler[Viewer] = Scheduler()
    for viewer in viewers:
        scheduler.add(viewer)
    now = 0.0
    while now < until:
        chosen = scheduler.next(now)
        if chosen is None:
            now = scheduler.next_due_at()
        else:
            now += block_takes
            chosen.make(now)


def watching(count: int) -> list[Viewer]:
    return [Viewer(RealtimePace(BLOCK, patience=2.0, opened_at=0.0)) for _ in range(count)]


def unpaced(count: int) -> list[Viewer]:
    return [Viewer(UnpacedPace(opened_at=0.0)) for _ in range(count)]


def test_a_lone_viewer_gets_its_rate_and_no_more() -> None:
    (viewer,) = viewers = watching(1)
    simulate(viewers, until=100.0, block_takes=0.1)
    assert viewer.underruns == 0
    assert viewer.chunks == pytest.approx(100.0 / BLOCK, abs=2)


def test_as_many_viewers_as_fit_all_see_every_picture_in_time() -> None:
    viewers = watching(4)
    simulate(viewers, until=100.0, block_takes=0.12)  # 4 x 0.12 of every 0.5 seconds
    assert [viewer.underruns for viewer in viewers] == [0, 0, 0, 0]


def test_too_many_viewers_fall_behind_alike() -> None:
    viewers = watching(8)
    simulate(viewers, until=100.0, block_takes=0.125)  # twice what fits
    chunks = [viewer.chunks for viewer in viewers]
    assert max(chunks) - min(chunks) <= 1
    assert sum(chunks) == pytest.approx(100.0 / 0.125, abs=8)


def test_unpaced_sessions_share_what_is_left_and_take_nothing_from_viewers() -> None:
    viewers, others = watching(2), unpaced(3)
    simulate(viewers + others, until=100.0, block_takes=0.1)
    assert [viewer.underruns for viewer in viewers] == [0, 0]
    chunks = [viewer.chunks for viewer in others]
    assert max(chunks) - min(chunks) <= 1
    assert sum(chunks) + sum(viewer.chunks for viewer in viewers) == pytest.approx(1000, abs=2)


def test_a_stalled_viewer_does_not_starve_the_others() -> None:
    stalled, other = viewers = watching(2)
    simulate(viewers, until=10.0, block_takes=0.2)
    stalled.ready = False
    scheduler: Scheduler[Viewer] = Scheduler()
    for viewer in viewers:
        scheduler.add(viewer)
    assert {scheduler.next(1000.0) for _ in range(5)} == {other}


def test_the_earliest_deadline_goes_first() -> None:
    late, early = (
        Viewer(RealtimePace(BLOCK, patience=2.0, opened_at=5.0)),
        Viewer(RealtimePace(BLOCK, patience=2.0, opened_at=4.0)),
    )
    scheduler: Scheduler[Viewer] = Scheduler()
    scheduler.add(late)
    scheduler.add(early)
    assert scheduler.next(6.0) is early


def test_nobody_is_chosen_before_being_due() -> None:
    scheduler: Scheduler[Viewer] = Scheduler()
    assert (scheduler.next(0.0), scheduler.next_due_at()) == (None, math.inf)
    viewer = Viewer(RealtimePace(BLOCK, patience=2.0, opened_at=5.0))
    scheduler.add(viewer)
    assert (scheduler.next(4.9), scheduler.next_due_at()) == (None, 5.0)
    assert scheduler.next(5.0) is viewer
    viewer.ready = False
    assert (scheduler.next(9.0), scheduler.next_due_at()) == (None, math.inf)


def test_who_is_removed_is_not_chosen_and_nobody_is_added_twice() -> None:
    scheduler: Scheduler[Viewer] = Scheduler()
    (viewer,) = unpaced(1)
    scheduler.add(viewer)
    with pytest.raises(AssertionError, match="once"):
        scheduler.add(viewer)
    scheduler.remove(viewer)
    assert scheduler.next(1.0) is None


def test_policy_needs_no_torch() -> None:
    for name in ("scheduler", "pacing"):
        with open(f"service/worker/{name}.py", encoding="utf-8") as file:
            assert "torch" not in [
                line.split()[1].split(".")[0] for line in file if line.startswith(("import", "from"))
            ]
