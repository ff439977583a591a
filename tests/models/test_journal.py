"""The journal as a document and as a value: JSON there and back, rewinds against a naive model, refusals by name."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.recache import MODES, SINK_POLICIES, Mode
from cache.replay import Change
from models.errors import ChangeError, EngineError, PromptError, RestoreError
from models.journal import (
    MAX_PROMPT_CHARACTERS,
    MAX_TRANSITION_CHUNKS,
    MAX_WEIGHT,
    MAX_WEIGHTED_PROMPTS,
    Event,
    Journal,
    PromptEvent,
    TakeEvent,
    Timeline,
    WeightedPrompt,
    changes,
    check_event,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
weighted = st.builds(WeightedPrompt, texts, st.floats(0, MAX_WEIGHT, exclude_min=True))


@st.composite
def prompt_events(draw: st.DrawFn, block: int | None = None) -> PromptEvent:
    mode = draw(st.sampled_from(MODES))
    return PromptEvent(
        block=draw(st.integers(0, 2**40)) if block is None else block,
        prompts=tuple(draw(st.lists(weighted, min_size=1, max_size=MAX_WEIGHTED_PROMPTS))),
        mode=mode,
        sink=draw(st.sampled_from(SINK_POLICIES)),
        transition_chunks=0 if mode == "cut" else draw(st.integers(0, MAX_TRANSITION_CHUNKS)),
        event_id=draw(st.text(max_size=10)),
    )


take_events = st.builds(TakeEvent, block=st.integers(0, 2**40), take=st.integers(0, 2**40))
journals = st.builds(
    Journal,
    model=st.text(max_size=10),
    seed=st.integers(0, 2**63 - 1),
    fingerprint=st.text(max_size=16),
    events=st.lists(prompt_events() | take_events, max_size=6).map(tuple),
)


def prompt_at(block: int, text: str = "a", *, mode: Mode = "recache", transition: int = 0) -> PromptEvent:
    return PromptEvent(block=block, prompts=(WeightedPrompt(text),), mode=mode, transition_chunks=transition)


# JSON


@given(journals)
@settings(max_examples=100)
def test_what_is_written_is_read(journal: Journal) -> None:
    written = journal.to_json()
    assert Journal.from_json(written) == journal
    assert Journal.from_json(written).to_json() == written
    assert Journal.from_json(json.dumps(json.loads(written), indent=1)) == journal


def document() -> dict[str, Any]:
    events = (prompt_at(0), prompt_at(3, "b", mode="flush", transition=2), TakeEvent(block=2, take=1))
    read: dict[str, Any] = json.loads(Journal(model="demo", seed=7, fingerprint="f", events=events).to_json())
    return read


def test_the_format_is_pinned() -> None:
    """Journals that were kept must be read: a change here needs another version."""
    read = document()
    assert read == {
        "version": 1,
        "model": "demo",
        "seed": 7,
        "fingerprint": "f",
        "events": [
            {
                "type": "prompt",
                "block": 0,
                "prompts": [{"text": "a", "weight": 1.0}],
                "mode": "recache",
                "sink": "keep",
                "transition_chunks": 0,
                "event_id": "",
            },
            {
                "type": "prompt",
                "block": 3,
                "prompts": [{"text": "b", "weight": 1.0}],
                "mode": "flush",
                "sink": "keep",
                "transition_chunks": 2,
                "event_id": "",
            },
            {"type": "take", "block": 2, "take": 1},
        ],
    }


def test_a_weight_may_be_a_whole_number() -> None:
    read = document()
    read["events"][0]["prompts"][0]["weight"] = 2
    event = Journal.from_json(json.dumps(read)).events[0]
    assert isinstance(event, PromptEvent)
    assert event.prompts == (WeightedPrompt("a", 2.0),)


@pytest.mark.parametrize("text", ["", "{", "nul", "[1", "\u0000", "[" * 100_000, "9" * 5000, "{'a': 1}"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(RestoreError, match="must be a JSON document") as caught:
        Journal.from_json(text)
    assert caught.value.field == "journal"


@pytest.mark.parametrize("text", ["null", "[]", "3", '"a"', "true", "[{}]"])
def test_what_is_not_an_object_is_refused(text: str) -> None:
    with pytest.raises(RestoreError, match="must be an object") as caught:
        Journal.from_json(text)
    assert caught.value.field == "journal"


Place = tuple[str | int, ...]
EVENT: Place = ("events", 1)
WEIGHTED: Place = ("events", 1, "prompts", 0)
TAKE: Place = ("events", 2)
NO_INTEGER: tuple[object, ...] = ("3", 3.0, True, None, [3], {})
NO_TEXT: tuple[object, ...] = (3, None, ["a"], {}, False)
WRONG_TYPES: tuple[tuple[Place, str, tuple[object, ...]], ...] = (
    ((), "version", ("1", 1.0, True, None)),
    ((), "model", NO_TEXT),
    ((), "seed", NO_INTEGER),
    ((), "fingerprint", NO_TEXT),
    ((), "events", ({}, "ab", None, 5)),
    (EVENT, "block", NO_INTEGER),
    (EVENT, "prompts", ({"text": "a"}, "ab", None)),
    (EVENT, "mode", NO_TEXT),
    (EVENT, "sink", NO_TEXT),
    (EVENT, "transition_chunks", NO_INTEGER),
    (EVENT, "event_id", NO_TEXT),
    (WEIGHTED, "text", NO_TEXT),
    (WEIGHTED, "weight", ("1", None, True, [1])),
    (TAKE, "block", NO_INTEGER),
    (TAKE, "take", NO_INTEGER),
)


def at(read: dict[str, Any], place: Place) -> Any:
    found: Any = read
    for step in place:
        found = found[step]
    return found


def refused(read: object) -> EngineError:
    with pytest.raises(EngineError) as caught:
        Journal.from_json(json.dumps(read))
    assert len(str(caught.value)) < 400
    return caught.value


@pytest.mark.parametrize(("place", "name", "values"), WRONG_TYPES)
def test_a_field_of_another_type_is_refused_by_name(place: Place, name: str, values: tuple[object, ...]) -> None:
    for value in values:
        read = document()
        at(read, place)[name] = value
        error = refused(read)
        assert (type(error), error.field, error.code) == (RestoreError, name, "restore_mismatch"), value


@pytest.mark.parametrize(("place", "name"), [(place, name) for place, name, _ in WRONG_TYPES])
def test_a_missing_field_is_refused_by_name(place: Place, name: str) -> None:
    read = document()
    del at(read, place)[name]
    assert refused(read).field == name


@pytest.mark.parametrize("place", [(), EVENT, WEIGHTED, TAKE])
def test_an_unknown_field_is_refused_by_name(place: Place) -> None:
    read = document()
    at(read, place)["surprise"] = 1
    assert refused(read).field == "surprise"
    read = document()
    at(read, place)["x" * 10_000] = 1
    refused(read)


OUT_OF_RANGE: tuple[tuple[Place, str, object, str, str], ...] = (
    ((), "version", 2, "version", "restore_mismatch"),
    (EVENT, "type", "cut", "type", "restore_mismatch"),
    (EVENT, "type", None, "type", "restore_mismatch"),
    (EVENT, "type", "take", "take", "restore_mismatch"),
    (EVENT, "block", -1, "block", "restore_mismatch"),
    (TAKE, "block", -1, "block", "restore_mismatch"),
    (TAKE, "take", -1, "take", "restore_mismatch"),
    (EVENT, "prompts", [], "prompts", "prompts_invalid"),
    (EVENT, "prompts", ["a"], "prompt", "restore_mismatch"),
    (EVENT, "mode", "fade", "mode", "mode_invalid"),
    (EVENT, "sink", "drop", "sink", "sink_invalid"),
    (EVENT, "transition_chunks", 65, "transition_chunks", "transition_invalid"),
    (WEIGHTED, "text", " ", "prompt", "prompt_empty"),
    (WEIGHTED, "text", "x" * 2001, "prompt", "prompt_too_long"),
    (WEIGHTED, "weight", 0, "weight", "weights_invalid"),
    (WEIGHTED, "weight", float("nan"), "weight", "weights_invalid"),
    (WEIGHTED, "weight", 10**400, "weight", "weights_invalid"),
    (EVENT, "transition_chunks", 10**400, "transition_chunks", "transition_invalid"),
    (EVENT, "block", -(10**400), "block", "restore_mismatch"),
    (EVENT, "mode", "x" * 10_000, "mode", "mode_invalid"),
    (EVENT, "type", "x" * 10_000, "type", "restore_mismatch"),
)


@pytest.mark.parametrize("case", OUT_OF_RANGE, ids=lambda case: f"{case[1]} {str(case[2])[:8]}")
def test_a_field_out_of_range_is_refused_by_name(case: tuple[Place, str, object, str, str]) -> None:
    place, name, value, field, code = case
    read = document()
    at(read, place)[name] = value
    error = refused(read)
    assert (error.field, error.code) == (field, code)


@pytest.mark.parametrize("event", [None, 3, "prompt", [], {}])
def test_what_is_not_an_event_is_refused(event: object) -> None:
    read = document()
    read["events"][1] = event
    assert isinstance(refused(read), RestoreError)


# Events


def test_the_block_of_the_whole_new_prompt() -> None:
    assert [prompt_at(5, transition=count).reached for count in (0, 1, 2, 64)] == [5, 5, 6, 68]


@given(prompt_events())
def test_events_in_range_are_accepted(event: PromptEvent) -> None:
    check_event(event)


def test_a_share_may_be_nothing_but_not_all_of_them() -> None:
    """As on the wire: a weight that is moved to 0 leaves the others."""
    check_event(one(prompts=(WeightedPrompt("a", 0.0), WeightedPrompt("b", 0.5))))
    with pytest.raises(PromptError, match="more than 0 for at least one") as caught:
        check_event(one(prompts=(WeightedPrompt("a", 0.0), WeightedPrompt("b", 0.0))))
    assert (caught.value.field, caught.value.code) == ("weight", "weights_invalid")


def one(**fields: Any) -> PromptEvent:
    return PromptEvent(**{"block": 1, "prompts": (WeightedPrompt("a"),), **fields})


LONG = WeightedPrompt("x" * (MAX_PROMPT_CHARACTERS + 1))


@pytest.mark.parametrize(
    ("event", "kind", "field", "code"),
    [
        (one(prompts=()), PromptError, "prompts", "prompts_invalid"),
        (one(prompts=(WeightedPrompt("a"),) * (MAX_WEIGHTED_PROMPTS + 1)), PromptError, "prompts", "prompts_invalid"),
        (one(prompts=(WeightedPrompt("a"), WeightedPrompt("\t \n"))), PromptError, "prompt", "prompt_empty"),
        (one(prompts=(WeightedPrompt("a"), LONG)), PromptError, "prompt", "prompt_too_long"),
        *(
            (one(prompts=(WeightedPrompt("a", weight),)), PromptError, "weight", "weights_invalid")
            for weight in (0.0, -1e-9, -1.0, float("inf"), float("nan"), 1e7)
        ),
        (one(mode="fade"), ChangeError, "mode", "mode_invalid"),
        (one(sink="drop"), ChangeError, "sink", "sink_invalid"),
        (one(transition_chunks=-1), ChangeError, "transition_chunks", "transition_invalid"),
        (one(transition_chunks=MAX_TRANSITION_CHUNKS + 1), ChangeError, "transition_chunks", "transition_invalid"),
        (one(mode="cut", transition_chunks=1), ChangeError, "transition_chunks", "transition_invalid"),
    ],
)
def test_events_out_of_range_are_refused(event: PromptEvent, kind: type[EngineError], field: str, code: str) -> None:
    with pytest.raises(kind, match=r" must .*") as caught:
        check_event(event)
    assert (type(caught.value), caught.value.field, caught.value.code) == (kind, field, code)


# Timelines


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(("prompt", "blocks", "rewind")), st.integers(0, 4)), max_size=20))
def test_a_timeline_is_what_rewinds_leave(history: list[tuple[str, int]]) -> None:
    """The naive model keeps, for every block of the present take, the events that took effect before it."""
    log: list[Event] = [prompt_at(0)]
    before: list[list[Event]] = [[]]
    takes = 0
    for number, (what, amount) in enumerate(history):
        block = len(before) - 1
        if what == "prompt":
            log.append(prompt_at(block, f"prompt {number}"))
            before[-1].append(log[-1])
        elif what == "blocks":
            before += [[] for _ in range(amount)]
        else:
            takes += 1
            back = max(0, block - amount)
            log.append(TakeEvent(block=back, take=takes))
            before = [*before[:back], [log[-1]]]
    timeline = Timeline.of(log)
    assert timeline.first is log[0]
    assert timeline.events == (log[0], *(event for events in before for event in events))
    for block in range(len(before) + 1):
        past, future = timeline.split(block)
        assert past + future == timeline.events
        assert all(event.block < block or (isinstance(event, TakeEvent) and event.block == block) for event in past[1:])
        assert all(event.block >= block for event in future)


def test_splitting_at_a_take_holds_it_and_not_what_came_after() -> None:
    take, after = TakeEvent(block=4, take=1), prompt_at(4, "after")
    past, future = Timeline.of((prompt_at(0), prompt_at(2, "b"), prompt_at(4, "dropped"), take, after)).split(4)
    assert past == (prompt_at(0), prompt_at(2, "b"), take)
    assert future == (after,)


def test_a_rewind_to_the_beginning_keeps_the_first_prompt() -> None:
    take = TakeEvent(block=0, take=1)
    assert Timeline.of((prompt_at(0), prompt_at(0, "b"), prompt_at(3), take)).events == (prompt_at(0), take)


BAD_ORDERS: tuple[tuple[Event, ...], ...] = (
    (),
    (prompt_at(1),),
    (TakeEvent(block=0, take=1), prompt_at(0)),
    (prompt_at(0), prompt_at(5), prompt_at(4)),
    (prompt_at(0), TakeEvent(block=3, take=1), prompt_at(2)),
)


@pytest.mark.parametrize("events", BAD_ORDERS)
def test_events_out_of_order_are_refused(events: tuple[Event, ...]) -> None:
    with pytest.raises(RestoreError, match="journal") as caught:
        Timeline.of(events)
    assert caught.value.field == "events"


# What happened to the past

A = prompt_at(0)
Case = tuple[tuple[Event, ...], int, list[tuple[int, int]]]
CHANGES: dict[str, Case] = {
    # events after the first, before which block, (block, place in the events) of each change
    "the prompt begun with is none": ((), 9, []),
    "at once": ((prompt_at(3),), 9, [(3, 1)]),
    "not yet": ((prompt_at(3),), 3, []),
    "just now": ((prompt_at(3),), 4, [(3, 1)]),
    "a blend acts when it is complete": ((prompt_at(3, transition=4),), 9, [(6, 1)]),
    "a blend under way": ((prompt_at(3, transition=4),), 6, []),
    "cut short": ((prompt_at(3, transition=4), prompt_at(5)), 9, [(5, 2)]),
    "completed where the next begins": ((prompt_at(3, transition=4), prompt_at(6)), 9, [(6, 1), (6, 2)]),
    "cut short by a blend": ((prompt_at(3, transition=4), prompt_at(4, transition=2)), 9, [(5, 2)]),
    "two at one block": ((prompt_at(3), prompt_at(3)), 9, [(3, 1), (3, 2)]),
    "before the first block": ((prompt_at(0),), 9, [(0, 1)]),
    "a take between": ((TakeEvent(block=2, take=1), prompt_at(3)), 9, [(3, 2)]),
    "a take within a blend": ((prompt_at(3, transition=4), TakeEvent(block=5, take=1)), 9, [(6, 1)]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_the_past(name: str) -> None:
    later, before, expected = CHANGES[name]
    assert [(change.block, change.event) for change in changes((A, *later), before=before)] == expected


def test_a_change_says_how() -> None:
    event = PromptEvent(block=2, prompts=A.prompts, mode="flush", sink="refresh")
    assert changes((A, event), before=3) == [Change(2, "flush", "refresh", 1)]


CHECKS: tuple[Callable[[], object], ...] = (lambda: changes((), before=3), lambda: changes((A,), before=0))


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_happened_to_nothing(check: Callable[[], object]) -> None:
    assert check() == []
