"""The course of a live session: which block a place means, and what takes the place of what."""

import pytest

from service.api.track import Track
from service.errors import ErrorCode, ProtocolError
from service.protocol.client import SessionControl, SessionFork
from tests.service.store.values import row


def track() -> Track:
    """Chunks 0 to 4; chunk 3 began a take at block 1."""
    made = Track([row(0, block=0), row(1, block=1), row(2, block=2)])
    made.append(row(3, block=1, take=1), ("storm",))
    made.append(row(4, block=2, take=1), ("storm", "night"))
    return made


@pytest.mark.parametrize(
    ("place", "block"),
    [
        (SessionFork(sequence=0), 0),
        (SessionFork(sequence=4), 2),
        (SessionControl(action="rewind", seconds=0.0), 0),
        (SessionControl(action="rewind", seconds=0.76), 1),
        (SessionFork(), 3),
    ],
)
def test_a_place_is_a_block(place: SessionControl | SessionFork, block: int) -> None:
    assert track().block_at(place, fps=16.0) == block


@pytest.mark.parametrize(
    ("place", "field"),
    [
        (SessionFork(sequence=1), "sequence"),
        (SessionFork(sequence=9, event_id="e"), "sequence"),
        (SessionFork(seconds=2.25), "seconds"),
    ],
)
def test_what_is_no_part_of_the_video_is_no_place(place: SessionFork, field: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        track().block_at(place, fps=16.0)
    error = caught.value
    assert (error.code, error.field, error.event_id) == (ErrorCode.FORK_POINT_INVALID, field, place.event_id or "")


def test_it_knows_what_the_last_block_was_made_under() -> None:
    made = track()
    held: list[tuple[int, tuple[str, ...]]] = []
    for block in (3, 2, 0):
        made.cut(block)
        held.append((len(made), made.event_ids))
    assert held == [(3, ("storm", "night")), (2, ("storm",)), (0, ())]


def test_a_gap_is_a_fault() -> None:
    with pytest.raises(ValueError, match="up to 3, got 5"):
        track().append(row(5, block=5))
