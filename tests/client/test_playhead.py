"""Playhead: where the viewer is, chunk by chunk, on a clock that the test moves."""

import pytest

from client.playhead import Playhead


def test_nothing_is_shown_before_the_first_chunk() -> None:
    playhead = Playhead(16)
    assert playhead.position(100.0) == 0.0
    assert playhead.seconds_until(0.0, 100.0) is None


def test_picture_starts_with_the_first_chunk_and_goes_on_by_the_clock() -> None:
    playhead = Playhead(16)
    assert not playhead.arrive(100.0, pts=0.0, frames=12)
    assert playhead.position(100.0) == 0.0
    assert playhead.position(100.5) == 0.5
    assert playhead.received_end == 0.75


def test_picture_holds_at_the_end_of_what_arrived() -> None:
    playhead = Playhead(16)
    playhead.arrive(100.0, pts=0.0, frames=12)
    assert playhead.position(103.0) == 0.75


def test_late_chunk_is_an_underrun_and_playback_goes_on_from_it() -> None:
    playhead = Playhead(16)
    playhead.arrive(100.0, pts=0.0, frames=12)
    assert playhead.arrive(101.0, pts=0.75, frames=12)
    assert playhead.position(101.0) == 0.75
    assert playhead.position(101.5) == 1.25
    # No fast-forward: the next one is due 0.75 s after the late one, not after the first schedule.
    assert not playhead.arrive(101.75, pts=1.5, frames=12)
    assert playhead.underruns == 1


def test_seconds_until_a_position() -> None:
    playhead = Playhead(16)
    playhead.arrive(100.0, pts=0.0, frames=12)
    assert playhead.seconds_until(0.5, 100.25) == pytest.approx(0.25)
    assert playhead.seconds_until(0.5, 101.0) == 0.0
    assert playhead.seconds_until(0.76, 100.25) is None
    playhead.arrive(100.5, pts=0.75, frames=12)
    assert playhead.seconds_until(0.76, 100.25) == pytest.approx(0.51)


def test_gap_in_the_time_stamps_is_waited_for() -> None:
    playhead = Playhead(16)
    playhead.arrive(100.0, pts=0.0, frames=12)
    assert not playhead.arrive(101.4, pts=1.5, frames=12)
    assert playhead.position(101.75) == 1.75


def test_a_video_that_goes_on_from_an_earlier_moment_is_shown_at_once() -> None:
    """After a rewind the time stamps go back; what was to come is not shown, and nothing was late."""
    playhead = Playhead(16)
    for number in range(3):
        playhead.arrive(100.0, pts=0.75 * number, frames=12)
    assert playhead.position(101.0) == 1.0
    assert not playhead.arrive(101.0, pts=0.75, frames=12)
    assert (playhead.position(101.0), playhead.received_end, playhead.underruns) == (0.75, 1.5, 0)
    assert playhead.position(109.0) == 1.5
