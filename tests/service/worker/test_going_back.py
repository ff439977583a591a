"""Courses, rewinds, and blocks that are taken back before anybody sees them, on a real small engine."""

from pathlib import Path

import msgspec
import pytest

from service.ipc import (
    Applied,
    Chunk,
    Control,
    ControlApplied,
    Credit,
    Discarded,
    Ended,
    Event,
    Failed,
    Interact,
    Prompt,
    Rejected,
    Rewind,
    Rewound,
    Start,
)
from service.latent_files import latent_path, stored_sequences
from tests.service.worker.directed import Direction

BLOCK = 12 / 16
FIRST = 9 / 16


def start(session: str = "s", *, credits: int = 3, paced: bool = False, buffer: float = 0.0) -> Start:
    return Start(
        session=session,
        prompts=(Prompt("a red ball"),),
        seed=7,
        credits=credits,
        format="raw",
        pacing="realtime" if paced else "none",
        buffer_seconds=buffer,
        event_id="first",
    )


def prompt(event_id: str, text: str = "blue sea", **fields: object) -> Interact:
    return Interact(session="s", event_id=event_id, prompts=(Prompt(text),), **fields)  # type: ignore[arg-type]


@pytest.fixture
def direction(tmp_path: Path) -> Direction:
    return Direction(tmp_path)


def chunks_of(sent: list[Event]) -> list[Chunk]:
    return [event for event in sent if isinstance(event, Chunk)]


def test_latents_of_every_chunk_are_stored_and_its_events_told_once(direction: Direction) -> None:
    say = direction.say
    stage = direction.play([say(direction.begin(start())), say(prompt("e"), Credit(session="s", chunks=2))])
    assert stored_sequences(latent_path(direction.store, "s", sequence=0).parent) == (0, 1, 2, 3, 4)
    assert [len(chunk.events) for chunk in stage.chunks()] == [1, 0, 0, 1, 0]
    assert [chunk.event_ids for chunk in stage.chunks()] == [("first",)] * 3 + [("e",)] * 2
    direction.check()


def test_a_session_goes_on_from_its_course_as_if_nothing_had_been(direction: Direction) -> None:
    say = direction.say
    whole = Direction(direction.store / "whole", generator=direction.generator)
    acts = [lambda: whole.stage.channel.put(whole.begin(start(credits=3)))]
    acts += [lambda: whole.stage.channel.put(prompt("e", transition_chunks=3), Credit(session="s", chunks=7))]
    expected = [chunk.frames_sha256 for chunk in whole.play(acts).chunks()]
    direction.play([say(direction.begin(start(credits=3))), say(prompt("e", transition_chunks=3), Credit(session="s"))])
    record = direction.records["s"]
    stage = direction.play([lambda: direction.stage.channel.put(record.start(credits=6, pacing="none"))])
    assert [row.frames_sha256 for row in record.rows] == expected
    assert [chunk.sequence for chunk in stage.chunks()] == [4, 5, 6, 7, 8, 9]
    assert [chunk.event_ids for chunk in stage.chunks()] == [("e",)] * 6
    assert stage.of(Applied) == []
    direction.check()


@pytest.mark.parametrize("damage", ["missing", "torn", "other model", "no journal"])
def test_a_course_that_does_not_hold_is_a_failure_with_a_code(direction: Direction, damage: str) -> None:
    say = direction.say
    direction.play([say(direction.begin(start(credits=3)))])
    command = direction.records.pop("s").start()
    assert command.course is not None
    path = latent_path(direction.store, "s", sequence=2)
    match damage:
        case "missing":
            path.unlink()
        case "torn":
            path.write_bytes(path.read_bytes()[:-3])
        case "other model":
            changed = command.course.journal.replace('"small"', '"large"')
            command = start_with(command, changed)
        case _:
            command = start_with(command, "[]")
    direction.records = {}
    sent: list[Event] = []
    stage = Direction(direction.store, generator=direction.generator)
    with pytest.raises(KeyError):  # the failure has no record to go to
        stage.play([lambda: stage.stage.channel.put(command)])
    sent = stage.stage.channel.sent
    (failed,) = [event for event in sent if isinstance(event, Failed)]
    assert failed.code == "restore_mismatch"


def start_with(command: Start, journal: str) -> Start:
    assert command.course is not None
    return msgspec.structs.replace(command, course=msgspec.structs.replace(command.course, journal=journal))


def test_a_rewind_begins_a_take_and_the_same_noise_gives_the_same_blocks(direction: Direction) -> None:
    say = direction.say
    stage = direction.play(
        [
            say(direction.begin(start(credits=5))),
            say(Rewind(session="s", block=2, take=3, event_id="r"), Credit(session="s", chunks=3)),
            say(Rewind(session="s", block=2, take=None), Credit(session="s", chunks=2)),
            say(Rewind(session="s", block=1, take=None), Credit(session="s", chunks=1)),
        ]
    )
    assert stage.of(Rewound) == [
        Rewound(session="s", block=2, take=3, sequence=5, event_id="r"),
        Rewound(session="s", block=2, take=3, sequence=8),
        Rewound(session="s", block=1, take=0, sequence=10),
    ]
    hashes = [chunk.frames_sha256 for chunk in stage.chunks()]
    assert len(set(hashes[:8])) == 8
    assert hashes[8:10] == hashes[5:7]
    assert hashes[10] == hashes[1]
    assert stage.of(Discarded) == []  # nobody watches by the clock: all that was sent counts as seen
    direction.check()


@pytest.mark.parametrize("block", [-1, 4])
def test_a_rewind_to_no_block_is_rejected_and_changes_nothing(direction: Direction, block: int) -> None:
    say = direction.say
    stage = direction.play(
        [say(direction.begin(start(credits=3))), say(Rewind(session="s", block=block, take=1, event_id="r"))]
    )
    (rejected,) = stage.of(Rejected)
    assert isinstance(rejected, Rejected)
    assert (rejected.event_id, rejected.code, rejected.field) == ("r", "fork_point_invalid", "block")
    assert stage.of(Rewound) == []


def test_a_prompt_that_waits_survives_a_rewind(direction: Direction) -> None:
    say = direction.say
    stage = direction.play(
        [
            say(direction.begin(start(credits=3))),
            say(prompt("e"), Rewind(session="s", block=1, take=1), Credit(session="s", chunks=1)),
        ]
    )
    assert [chunk.started_event_ids for chunk in stage.chunks()][3:] == [("e",)]
    direction.check()


def test_with_a_buffer_a_prompt_takes_back_what_nobody_has_seen(direction: Direction) -> None:
    """Made ahead: 9 + 5 x 12 frames, 4.3 s. At 1 s block 1 is on screen, so block 2 is the first to be made anew."""
    say = direction.say

    def watch() -> None:
        direction.stage.clock.now += 1.0
        direction.stage.channel.put(prompt("e"))

    stage = direction.play([say(direction.begin(start(credits=20, paced=True, buffer=4.0))), watch])
    (discarded,) = stage.of(Discarded)
    assert discarded == Discarded(session="s", from_sequence=2, next_sequence=6, block=2, reason="prompt")
    later = stage.chunks()[6:]
    assert (later[0].block, later[0].started_event_ids, later[0].pts) == (2, ("e",), FIRST + BLOCK)
    assert stage.channel.sent.index(discarded) < stage.channel.sent.index(later[0])
    (applied,) = [event for event in stage.of(Applied) if isinstance(event, Applied) and event.event_id == "e"]
    assert (applied.sequence, applied.block) == (6, 2)
    direction.check()


def test_without_a_buffer_a_prompt_takes_nothing_back_and_its_block_is_due_at_once(direction: Direction) -> None:
    say = direction.say
    made: list[int] = []

    def watch() -> None:
        made.append(len(direction.stage.chunks()))
        direction.stage.clock.now += 0.05
        direction.stage.channel.put(prompt("e"))

    stage = direction.play([say(direction.begin(start(credits=20, paced=True))), watch])
    assert made == [2]
    assert [chunk.started_event_ids for chunk in stage.chunks()] == [("first",), (), ("e",)]
    assert stage.of(Discarded) == []


def test_a_pause_takes_back_what_nobody_has_seen_and_resume_makes_the_same_again(direction: Direction) -> None:
    say = direction.say

    def wait(seconds: float, *commands: Control) -> None:
        direction.stage.clock.now += seconds
        direction.stage.channel.put(*commands)

    stage = direction.play(
        [
            say(direction.begin(start(credits=20, paced=True, buffer=2.0)), prompt("e", at=1.5)),
            lambda: wait(0.7, Control(session="s", action="pause")),
            lambda: wait(60.0, Control(session="s", action="resume")),
        ]
    )
    (discarded,) = stage.of(Discarded)
    assert isinstance(discarded, Discarded)
    assert (discarded.from_sequence, discarded.block, discarded.reason) == (2, 2, "pause")
    first = [chunk for chunk in stage.chunks() if chunk.sequence < discarded.next_sequence]
    again = [chunk for chunk in stage.chunks() if chunk.sequence >= discarded.next_sequence]
    same = [chunk.frames_sha256 for chunk in first if chunk.block >= 2]
    assert [chunk.frames_sha256 for chunk in again][: len(same)] == same
    assert again[0].started_event_ids == ()
    assert ("e",) in [chunk.event_ids for chunk in again]
    assert [event.sequence for event in stage.of(ControlApplied) if isinstance(event, ControlApplied)] == [
        discarded.next_sequence
    ] * 2
    direction.check()


def test_a_worker_that_takes_over_after_a_pause_makes_what_was_taken_back_again(direction: Direction) -> None:
    say = direction.say

    def pause() -> None:
        direction.stage.clock.now += 0.7
        direction.stage.channel.put(Control(session="s", action="pause"))

    stage = direction.play(
        [say(direction.begin(start(credits=20, paced=True, buffer=2.0)), prompt("e", at=1.0)), pause]
    )
    record = direction.records["s"]
    taken_back = [chunk for chunk in stage.chunks() if chunk.block >= 2]
    assert [("e",) for chunk in taken_back] == [chunk.event_ids for chunk in taken_back], "nobody has seen the prompt"
    assert (record.cut, len(record.waiting)) == (2, 1)
    again = direction.play([lambda: direction.stage.channel.put(record.start(credits=4, pacing="none"))]).chunks()
    assert [chunk.frames_sha256 for chunk in again][: len(taken_back)] == [chunk.frames_sha256 for chunk in taken_back]
    assert {chunk.event_ids for chunk in again} == {("e",)}
    direction.check()


def test_a_rewind_says_which_chunks_are_not_to_be_shown_any_more(direction: Direction) -> None:
    say = direction.say

    def watch() -> None:
        direction.stage.clock.now += 1.5  # block 2 is on screen
        direction.stage.channel.put(Rewind(session="s", block=1, take=1))

    stage = direction.play([say(direction.begin(start(credits=20, paced=True, buffer=3.0))), watch])
    (discarded,) = stage.of(Discarded)
    assert isinstance(discarded, Discarded)
    assert (discarded.from_sequence, discarded.block, discarded.reason) == (3, 1, "rewind")
    (rewound,) = stage.of(Rewound)
    assert isinstance(rewound, Rewound)
    assert rewound.sequence == discarded.next_sequence
    later = [chunk for chunk in stage.chunks() if chunk.sequence >= rewound.sequence]
    assert (later[0].block, later[0].take, later[0].pts) == (1, 1, FIRST)
    assert len(later) >= 4  # it is made ahead of the place it went to, at once
    direction.check()


def test_a_session_rewound_to_its_beginning_can_go_on_from_there(direction: Direction) -> None:
    say = direction.say
    direction.play([say(direction.begin(start(credits=2))), say(Rewind(session="s", block=0, take=1))])
    record = direction.records["s"]
    assert record.course == ()
    stage = direction.play([lambda: direction.stage.channel.put(record.start(take=1, pacing="none"))])
    assert [(chunk.sequence, chunk.block, chunk.take) for chunk in stage.chunks()] == [(2, 0, 1), (3, 1, 1)]
    (ended,) = stage.of(Ended)
    assert isinstance(ended, Ended)
    direction.check()
