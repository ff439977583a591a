"""What each command does to the sessions of a worker: who is let in, and how they end."""

import msgspec
import pytest

from service.errors import ErrorCode
from service.ipc import (
    Chunk,
    Control,
    Credit,
    Ended,
    Failed,
    Queued,
    Rejected,
    Shutdown,
    Start,
    Started,
    Stop,
)
from tests.service.worker.stage import Stage, at_pass, interact, start


def test_a_start_between_passes_waits_for_the_end_of_the_block_and_keeps_its_order() -> None:
    stage = Stage()
    at_pass(
        stage,
        0,
        1,
        lambda: stage.channel.put(start("b", credits=1), interact("e", session="b"), interact("f", session="a")),
    )
    stage.play([start("a", credits=2)])
    assert len(stage.of(Started, "b")) == 1
    assert [chunk.started_event_ids for chunk in stage.chunks("b")] == [("e",)]
    assert [chunk.started_event_ids for chunk in stage.chunks("a")] == [(), ("f",)]


def test_prompts_that_come_with_a_start_are_there_before_the_first_block() -> None:
    stage = Stage()
    waiting = (interact("now"), msgspec.structs.replace(interact("later"), not_before=0.001))
    stage.play([msgspec.structs.replace(start(credits=3), interactions=waiting)])
    assert [queued.event_id for queued in stage.of(Queued) if isinstance(queued, Queued)] == ["now", "later"]
    assert [chunk.started_event_ids for chunk in stage.chunks()] == [("now",), ("later",), ()]


def test_pause_holds_and_resume_goes_on() -> None:
    stage = Stage()
    seen: list[int] = []
    stage.play(
        [start(credits=1)],
        [Control(session="s", action="pause"), Credit(session="s", chunks=2)],
        lambda: seen.append(len(stage.chunks())),
        [Control(session="s", action="resume")],
    )
    assert seen == [1]
    assert len(stage.chunks()) == 3


@pytest.mark.parametrize(
    ("command", "code", "field"),
    [
        (start(text="refuse"), "prompt_invalid", "prompts.0.text"),
        (msgspec.structs.replace(start(), model="other"), ErrorCode.MODEL_UNKNOWN, "model"),
        (msgspec.structs.replace(start(), width=17), ErrorCode.SIZE_INVALID, "width"),
        (msgspec.structs.replace(start(), height=17), ErrorCode.SIZE_INVALID, "height"),
    ],
)
def test_a_session_that_cannot_start_is_told_why_and_costs_nothing(command: Start, code: str, field: str) -> None:
    stage = Stage()
    sent = stage.play([command], [start("good", credits=1)])
    assert isinstance(sent[0], Failed)
    assert (sent[0].code, sent[0].field) == (code, field)
    assert len(stage.chunks("good")) == 1


def test_no_more_sessions_than_places_and_a_place_is_free_again() -> None:
    stage = Stage(max_sessions=1)
    stage.play([start("a"), start("b")], [Stop(session="a"), start("c")])
    (failed,) = stage.of(Failed)
    assert isinstance(failed, Failed)
    assert (failed.session, failed.code) == ("b", ErrorCode.CAPACITY)
    assert len(stage.chunks("c")) == 3


def test_jobs_have_places_of_their_own() -> None:
    stage = Stage(max_sessions=1, max_jobs=1)
    jobs = [msgspec.structs.replace(start(name), background=True) for name in ("job", "another")]
    stage.play([*jobs, start("live")], [Stop(session="job"), start("second")], [jobs[1]])
    failed = [(event.session, event.code) for event in stage.of(Failed) if isinstance(event, Failed)]
    assert failed == [("another", ErrorCode.CAPACITY), ("second", ErrorCode.CAPACITY)]
    assert [len(stage.chunks(name)) for name in ("live", "another")] == [3, 3]


def test_draining_ends_sessions_and_starts_none() -> None:
    stage = Stage()
    sent = stage.play([start("a")], [Shutdown(), start("b")])
    assert [(type(event).__name__, event.session) for event in sent[-2:] if isinstance(event, Ended | Failed)] == [
        ("Failed", "b"),
        ("Ended", "a"),
    ]
    (ended,) = stage.of(Ended)
    assert isinstance(ended, Ended)
    assert ended.reason == "drained"


def test_a_worker_draws_a_seed_where_none_is_given() -> None:
    stage = Stage(max_sessions=2)
    unseeded = [msgspec.structs.replace(start(name, credits=0), seed=None) for name in ("a", "b")]
    stage.play(unseeded)
    seeds = {event.seed for event in stage.of(Started) if isinstance(event, Started)}
    assert len(seeds) == 2
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_end_is_the_last_message_whatever_was_waiting() -> None:
    stage = Stage()
    sent = stage.play(
        [start(credits=2)], [interact("e", at=99.0), Stop(session="s"), interact("late"), Stop(session="s")]
    )
    assert isinstance(sent[-1], Ended)
    assert len(stage.of(Ended)) == 1
    assert len(stage.of(Queued)) == 1


def test_an_impossible_change_is_rejected_before_it_is_queued() -> None:
    stage = Stage()
    impossible = msgspec.structs.replace(interact("e", mode="cut"), transition_chunks=3)
    stage.play([start(credits=1), impossible])
    (rejected,) = stage.of(Rejected)
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.field) == ("transition_invalid", "transition_chunks")
    assert stage.of(Queued) == []


def test_stop_gives_up_the_block_in_the_making() -> None:
    stage = Stage()
    at_pass(stage, 1, 1, lambda: stage.channel.put(Stop(session="s")))
    sent = stage.play([start(credits=9)])
    assert [type(event) for event in sent] == [Started, Chunk, Ended]
    assert stage.engine.streams[0].closed
