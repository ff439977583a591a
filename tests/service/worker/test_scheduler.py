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
    background: bool = False
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
    scheduler.block_seconds = block_takes
    for viewer in viewers:
        scheduler.add(viewer)
    now = 0.0
    while now < until:
        chosen = scheduler.next(now)
        if chosen is None:
            now = scheduler.next_due_at(now)
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
    assert (scheduler.next(0.0), scheduler.next_due_at(0.0)) == (None, math.inf)
    viewer = Viewer(RealtimePace(BLOCK, patience=2.0, opened_at=5.0))
    scheduler.add(viewer)
    assert (scheduler.next(4.9), scheduler.next_due_at(4.9)) == (None, 5.0)
    assert scheduler.next(5.0) is viewer
    viewer.ready = False
    assert (scheduler.next(9.0), scheduler.next_due_at(9.0)) == (None, math.inf)


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


def jobs(count: int) -> list[Viewer]:
    return [Viewer(UnpacedPace(opened_at=0.0), background=True) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("block_takes", [0.08, 0.11, 0.12])
def test_jobs_take_the_gaps_and_cost_no_viewer_a_picture(count: int, block_takes: float) -> None:
    viewers, (job,) = watching(count), jobs(1)
    simulate([*viewers, job], until=60.0, block_takes=block_takes)
    assert [viewer.underruns for viewer in viewers] == [0] * count
    free = 60.0 / block_takes - sum(viewer.chunks for viewer in viewers)
    assert job.chunks >= 0.9 * free - 2, "what viewers leave is the job's"


def test_a_job_waits_while_viewers_need_all_there_is() -> None:
    viewers, (job,) = watching(4), jobs(1)
    simulate([*viewers, job], until=60.0, block_takes=0.13)
    assert job.chunks == 0


def test_a_job_goes_behind_an_unpaced_session_that_somebody_takes() -> None:
    (viewer,), (job,) = unpaced(1), jobs(1)
    simulate([viewer, job], until=10.0, block_takes=0.125)
    assert (viewer.chunks, job.chunks) == (80, 0)
    viewer.ready = False
    simulate([viewer, job], until=10.0, block_takes=0.125)
    assert job.chunks == 80


def test_jobs_share_alike() -> None:
    first, second = waiting = jobs(2)
    simulate(waiting, until=10.0, block_takes=0.125)
    assert (first.chunks, second.chunks) == (40, 40)


def test_a_viewer_who_has_stopped_his_player_holds_no_job_up() -> None:
    """He reports no more, so that nothing is due for him until he does."""
    (viewer,), (job,) = watching(1), jobs(1)
    viewer.pace.made(BLOCK)
    viewer.pace.sent(0.0, 0.0)
    viewer.pace.seen(0.0, 0.0)
    viewer.pace.made(10.0)
    simulate([viewer, job], until=30.0, block_takes=0.1)
    assert job.chunks > 250


def test_a_job_is_not_begun_right_before_a_viewer_is_due_who_would_be_late() -> None:
    viewer, job = Viewer(RealtimePace(BLOCK, patience=2.0, opened_at=0.0)), jobs(1)[0]
    scheduler: Scheduler[Viewer] = Scheduler()
    scheduler.block_seconds = 0.3
    scheduler.add(viewer)
    scheduler.add(job)
    assert scheduler.next(0.0) is viewer
    viewer.make(0.3)  # due again at 0.3, and shown up to 0.8
    assert scheduler.next(0.3) is viewer
    viewer.make(0.6)  # due at 0.8, and shown up to 1.3
    assert scheduler.next(0.6) is job
    assert scheduler.next(0.75) is None, "a job until 1.05 and a block until 1.35 is too late for 1.3"
    assert scheduler.next_due_at(0.75) == pytest.approx(0.8)
