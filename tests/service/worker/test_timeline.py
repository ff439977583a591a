"""What waits for which block, and that each interaction leaves the timeline once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ErrorCode
from service.ipc import Interact, Prompt
from service.worker.timeline import Pending, Refusal, Timeline, blocks_ahead


def interact(event_id: str, *, at: float | None = None) -> Interact:
    return Interact(session="s", event_id=event_id, prompts=(Prompt("p"),), at=at)


def accept(timeline: Timeline, event_id: str, *, at: float | None = None, position: float = 0.0) -> Pending:
    return timeline.accept(interact(event_id, at=at), arrived_at=0.0, position=position)


def names(pending: list[Pending]) -> list[str]:
    return [one.event_id for one in pending]


def test_an_immediate_one_is_due_at_once_and_a_scheduled_one_at_its_time() -> None:
    timeline = Timeline(8)
    accept(timeline, "now")
    accept(timeline, "later", at=1.5)
    assert names(timeline.due(0.0)) == ["now"]
    timeline.close("now")
    assert names(timeline.due(1.4)) == []
    assert names(timeline.due(1.5)) == ["later"]


def test_the_newest_comes_first_by_media_time_then_by_arrival() -> None:
    timeline = Timeline(8)
    accept(timeline, "b", at=2.0)
    accept(timeline, "a", at=1.0)
    accept(timeline, "c", at=2.0)
    assert names(timeline.due(2.0)) == ["c", "b", "a"]


def test_a_time_that_has_passed_counts_as_now() -> None:
    timeline = Timeline(8)
    accept(timeline, "scheduled", at=4.0, position=3.0)
    accept(timeline, "passed", at=1.0, position=4.0)
    assert names(timeline.due(4.0)) == ["passed", "scheduled"]


def test_what_the_engine_has_is_not_due_again_but_not_decided_either() -> None:
    timeline = Timeline(8)
    pending = accept(timeline, "e")
    pending.handed = True
    assert timeline.due(9.0) == []
    assert timeline.close("e") is pending
    assert timeline.close("e") is None


def test_too_many_are_refused_and_a_place_is_free_again_afterwards() -> None:
    timeline = Timeline(2)
    accept(timeline, "a")
    accept(timeline, "b")
    with pytest.raises(Refusal, match="at most 2") as refusal:
        accept(timeline, "c")
    assert refusal.value.code is ErrorCode.INTERACTIONS_FULL
    timeline.close("a")
    accept(timeline, "c")
    assert len(timeline) == 2


def test_an_id_that_waits_is_not_taken_twice() -> None:
    timeline = Timeline(2)
    accept(timeline, "a")
    with pytest.raises(Refusal, match="'a'") as refusal:
        accept(timeline, "a")
    assert (refusal.value.code, refusal.value.field) == (ErrorCode.EVENT_ID_CONFLICT, "event_id")


def test_what_was_made_before_one_came_is_not_changed_by_it_unless_the_video_goes_back() -> None:
    timeline = Timeline(8)
    moved = Interact(session="s", event_id="moved", prompts=(Prompt("p"),), not_before=3.0)
    timeline.accept(moved, arrived_at=0.0, position=1.0)
    accept(timeline, "new", position=1.0)
    assert (names(timeline.due(2.0)), timeline.wanted()) == (["new"], [3.0, 0.0])
    timeline.gone_back(0.0, lost=False)  # what nobody had seen
    assert names(timeline.due(2.0)) == ["new"]
    timeline.gone_back(0.0, lost=True)
    assert sorted(names(timeline.due(0.0))) == ["moved", "new"]


@pytest.mark.parametrize(("at", "blocks"), [(None, 0), (0.5, 0), (1.0, 0), (1.01, 1), (1.5, 1), (1.51, 2), (3.0, 4)])
def test_blocks_ahead_counts_whole_blocks(at: float | None, blocks: int) -> None:
    pending = accept(Timeline(2), "e", at=at, position=1.0)
    assert blocks_ahead(pending, position=1.0, block_seconds=0.5) == blocks


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(0, 10)), st.floats(0, 3)), max_size=30))
def test_everything_accepted_is_due_in_the_end_exactly_once(steps: list[tuple[float | None, float]]) -> None:
    timeline, position, seen = Timeline(100), 0.0, []
    for number, (at, advance) in enumerate(steps):
        accept(timeline, str(number), at=at, position=position)
        position += advance
        for pending in timeline.due(position):
            assert pending.due <= position
            seen.append(pending.event_id)
            timeline.close(pending.event_id)
    seen += names(timeline.due(1e9))
    assert sorted(seen, key=int) == [str(number) for number in range(len(steps))]
