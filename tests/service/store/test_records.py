"""The course of a session and the events that hold, from rows and events alone; also held against the engine's own."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from models.journal import PromptEvent, TakeEvent, Timeline, WeightedPrompt
from service.store.records import (
    StoredCourse,
    StoredEvent,
    aired_of,
    course_of,
    events_before,
    events_of_course,
    fingerprints_of,
    journal_text,
)
from tests.service.store.values import prompt, record, row, take


def test_a_chunk_takes_the_place_of_its_block_and_all_after_it() -> None:
    rows = [row(0), row(1), row(2), row(3, 1, take=1), row(4, 2, take=1)]
    assert [(found.sequence, found.take) for found in course_of(rows)] == [(0, 0), (3, 1), (4, 1)]
    assert course_of([]) == ()


def test_events_before_a_block_hold_nothing_that_was_taken_back() -> None:
    events = [prompt(0), prompt(3, "b"), prompt(5, "c"), take(4, 1), prompt(6, "d")]
    assert events_before(events, 9) == (0, 1, 3, 4)
    assert events_before(events, 6) == (0, 1, 3)
    assert events_before(events, 4) == (0, 1, 3), "a take that begins with the block holds"
    assert events_before(events, 3) == (0,), "a prompt that begins with the block does not"


def test_the_first_prompt_stays_in_a_rewind_to_the_beginning() -> None:
    assert events_before([prompt(0), prompt(2, "b"), take(0, 1)], 0) == (0, 2)


def test_what_came_with_a_chunk_that_was_taken_back_does_not_hold_without_a_take_either() -> None:
    rows = [row(0), row(1), row(2), row(3, 1), row(4, 2)]
    events = [StoredEvent(0, prompt(0)), StoredEvent(2, prompt(2, "b")), StoredEvent(3, prompt(1, "c"))]
    assert events_of_course(rows, events, block=3) == (prompt(0), prompt(1, "c"))
    assert events_of_course(rows[:3], events[:2], block=3) == (prompt(0), prompt(2, "b"))
    # One that comes with a chunk that is not there yet: the take with which a fork begins.
    later = [*events, StoredEvent(5, take(3, 1))]
    assert events_of_course(rows, later, block=3) == (prompt(0), prompt(1, "c"), take(3, 1))


def test_what_was_given_at_the_beginning_stays() -> None:
    events = [prompt(0), '{"type": "opening", "block": 0, "blocks": 2}', prompt(1, "b"), take(0, 1)]
    assert events_before(events, 0) == (0, 1, 3)
    assert events_before(events[:3], 1) == (0, 1)


def test_what_was_aired_is_all_but_what_nobody_saw() -> None:
    rows = [row(0), row(1), row(2), row(3), row(4, 2), row(5, 1, take=1)]
    notes = [StoredEvent(4, json.dumps({"type": "discarded", "from_sequence": 2, "block": 2}), engine=False)]
    notes.append(StoredEvent(5, json.dumps({"type": "discarded", "from_sequence": 5, "block": 1}), engine=False))
    assert [found.sequence for found in aired_of(rows, [StoredEvent(0, prompt(0)), *notes])] == [0, 1, 4, 5]


def test_numerics_change_where_the_note_says() -> None:
    note = StoredEvent(3, '{"type": "numerics_changed", "fingerprint": "f2"}', engine=False)
    assert fingerprints_of(record(), [StoredEvent(0, prompt(0)), note]) == ((0, "f1"), (3, "f2"))


def test_the_block_at_a_second_is_the_one_on_screen() -> None:
    course = StoredCourse("{}", (), (row(0), row(1), row(2)), 3)
    # 12 frames at 16 a second: a block is 0.75 s.
    seconds = {0.0: 0, 0.74: 0, 0.75: 1, 1.5: 2, 2.24: 2, 2.25: 3, 100.0: 3}
    assert {at: course.block_at(at, 16.0) for at in seconds} == seconds
    assert course.frames == 36


def test_the_journal_is_the_engines_document() -> None:
    document = json.loads(journal_text(record(), [prompt(0)]))
    assert document == {
        "version": 1,
        "model": "demo",
        "seed": 2**63 - 1,
        "fingerprint": "f1",
        "events": [{"type": "prompt", "block": 0, "prompts": [{"text": "a", "weight": 1.0}]}],
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=12), st.integers(0, 8))
def test_what_holds_is_what_the_engine_keeps(moves: list[tuple[bool, int]], block: int) -> None:
    """As the engine would log them: prompts at the block that is next, takes at it or before."""
    log: list[PromptEvent | TakeEvent] = [PromptEvent(block=0, prompts=(WeightedPrompt("a"),))]
    texts, position = [prompt(0)], 0
    for number, (rewinds, step) in enumerate(moves, start=1):
        if rewinds:
            position = max(0, position - step)
            log.append(TakeEvent(block=position, take=number))
            texts.append(take(position, number))
        else:
            position += step
            log.append(PromptEvent(block=position, prompts=(WeightedPrompt(str(number)),)))
            texts.append(prompt(position, str(number)))
    past, _ = Timeline.of(log).split(block)
    assert tuple(log[place] for place in events_before(texts, block)) == past
