"""The clock of a session, without a clock: due times and deadlines as numbers."""

import math

import pytest

from service.worker.pacing import RealtimePace, UnpacedPace

BLOCK = 0.5


def test_the_first_block_is_due_at_once_and_the_second_only_when_the_first_has_left() -> None:
    pace = RealtimePace(BLOCK, patience=2.0, opened_at=10.0)
    assert (pace.due_at, pace.deadline) == (10.0, 10.0)
    pace.made(BLOCK)
    assert pace.due_at == math.inf
    pace.sent(0.0, 11.0)
    assert pace.due_at == 11.0
    assert pace.deadline == 11.5


def test_it_is_never_made_more_than_the_lead_ahead() -> None:
    for lead in (BLOCK, 2 * BLOCK, 1.25):
        ahead = _longest_lead(RealtimePace(lead, patience=2.0, opened_at=0.0), blocks=50, block_takes=0.1)
        assert ahead < lead + BLOCK  # what is begun with less than the lead is made whole
        assert ahead >= lead - 0.1


def test_a_stall_is_not_followed_by_a_fast_forward() -> None:
    pace = RealtimePace(BLOCK, patience=2.0, opened_at=0.0)
    now = _play(pace, start=0.0, blocks=4, block_takes=0.1)
    pace.made(BLOCK)
    stalled = now + 60.0  # the next chunk leaves a minute late
    pace.sent(4 * BLOCK, stalled)
    assert pace.due_at == stalled
    begun = []
    now = stalled
    for number in range(5, 10):
        now = max(now, pace.due_at)
        begun.append(now - stalled)
        now += 0.1
        pace.made(BLOCK)
        pace.sent(number * BLOCK, now)
    assert begun == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])


def test_a_chunk_that_is_early_does_not_move_the_clock() -> None:
    pace = RealtimePace(BLOCK, patience=2.0, opened_at=0.0)
    pace.made(BLOCK)
    pace.sent(0.0, 1.0)
    pace.made(BLOCK)
    before = pace.deadline
    pace.sent(BLOCK, 1.1)
    assert pace.deadline == before


def test_a_short_first_block_is_followed_up_to_the_lead_without_waiting() -> None:
    pace = RealtimePace(BLOCK, patience=2.0, opened_at=3.0)
    pace.made(BLOCK / 2)
    assert pace.due_at == 3.0


def test_a_reported_playhead_takes_the_place_of_the_clock() -> None:
    pace = RealtimePace(BLOCK, patience=2.0, opened_at=0.0)
    pace.made(4 * BLOCK)
    pace.sent(0.0, 10.0)
    assert pace.due_at == 10.0 + 3 * BLOCK
    pace.seen(0.5, 20.0)  # a viewer that began late, or was held up
    assert pace.due_at == 20.0 + 3 * BLOCK - 0.5
    assert pace.deadline == 20.0 + 4 * BLOCK - 0.5
    pace.sent(3 * BLOCK, 99.0)  # what is sent late is seen in the next report
    assert pace.due_at == 20.0 + 3 * BLOCK - 0.5


def test_a_playhead_that_is_not_reported_any_more_holds_the_making() -> None:
    pace = RealtimePace(BLOCK, patience=2.0, opened_at=0.0)
    pace.made(BLOCK)
    pace.seen(0.0, 10.0)
    ahead = 0.0
    while pace.due_at < math.inf:
        pace.made(BLOCK)
        ahead += BLOCK
    assert ahead == 2.0 + BLOCK
    pace.seen(1.0, 30.0)
    assert pace.due_at == (30.0 - 1.0) + (BLOCK + ahead) - BLOCK


def test_a_playhead_past_what_was_made_counts_as_the_end_of_it() -> None:
    pace = RealtimePace(BLOCK, patience=2.0, opened_at=0.0)
    pace.made(BLOCK)
    pace.seen(1000.0, 10.0)
    assert pace.due_at == 10.0 - BLOCK
    pace.made(BLOCK)
    assert pace.due_at == 10.0


@pytest.mark.parametrize("lead", [0.0, -1.0, math.nan])
def test_a_lead_has_to_be_positive(lead: float) -> None:
    with pytest.raises(ValueError, match="lead_seconds"):
        RealtimePace(lead, patience=2.0, opened_at=0.0)


def test_without_pacing_every_block_is_due_and_none_urgent() -> None:
    pace = UnpacedPace(opened_at=2.0)
    pace.made(BLOCK)
    pace.sent(0.0, 5.0)
    pace.seen(0.0, 5.0)
    assert (pace.due_at, pace.deadline) == (2.0, math.inf)


def _play(pace: RealtimePace, *, start: float, blocks: int, block_takes: float) -> float:
    now = start
    for number in range(blocks):
        now = max(now, pace.due_at) + block_takes
        pace.made(BLOCK)
        pace.sent(number * BLOCK, now)
    return now


def _longest_lead(pace: RealtimePace, *, blocks: int, block_takes: float) -> float:
    """Seconds of media made, less seconds since the first chunk left: the most it ever is."""
    now, first, most = 0.0, None, 0.0
    for number in range(blocks):
        now = max(now, pace.due_at) + block_takes
        pace.made(BLOCK)
        pace.sent(number * BLOCK, now)
        first = now if first is None else first
        most = max(most, (number + 1) * BLOCK - (now - first))
    return most


def test_the_lead_is_what_is_made_and_not_shown() -> None:
    pace = RealtimePace(0.75, patience=2.0, opened_at=0.0)
    pace.made(0.75)
    assert pace.lead(5.0) == 0.75  # nothing was sent, so nothing is shown
    pace.sent(0.0, 10.0)
    pace.made(0.75)
    assert pace.lead(10.5) == pytest.approx(1.0)
    assert pace.lead(60.0) == 0.0
    pace.seen(0.5, 60.0)
    assert pace.lead(60.25) == pytest.approx(0.75)


def test_an_unpaced_session_has_no_lead() -> None:
    pace = UnpacedPace(opened_at=0.0)
    pace.made(10.0)
    assert pace.lead(1.0) == 0.0
