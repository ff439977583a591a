"""More sessions than the device has memory for: who gives up a place, how a stream comes back, and what it costs."""

from collections import Counter
from pathlib import Path

import msgspec
import pytest
import torch

from service.ipc import Credit, Ended, Failed, Prompt, Start, Stop
from tests.service.worker.directed import Direction
from tests.service.worker.fake_engine import FakeStream
from tests.service.worker.stage import Stage, at_pass, start

SESSIONS = 32
PLACES = 4
SHARE = 4


def test_no_more_streams_are_open_than_there_are_places() -> None:
    stage = Stage(places=2, max_sessions=5, copy_bytes=1000)
    open_streams: list[int] = []
    stage.engine.on_pass = lambda _stream, _number: open_streams.append(stage.engine.open)
    stage.play([start(name, credits=6) for name in "abcde"])
    assert max(open_streams) == 2
    assert [len(stage.chunks(name)) for name in "abcde"] == [6] * 5
    assert stage.engine.open == 0
    assert stage.engine.replayed == []


@pytest.mark.parametrize("copies", [0, 25])
def test_where_copies_have_no_room_streams_are_made_from_their_latents_again(copies: int) -> None:
    stage = Stage(places=1, max_sessions=5, copy_bytes=copies)
    stage.play([start(name, credits=6) for name in "abcde"])
    assert [len(stage.chunks(name)) for name in "abcde"] == [6] * 5
    assert stage.engine.replayed != []
    assert (stage.engine.copied > 0) is (copies > 0)


def test_sessions_that_have_places_for_all_are_never_moved() -> None:
    stage = Stage(places=3, max_sessions=3)
    stage.play([start(name, credits=6) for name in "abc"])
    assert (stage.engine.copied, stage.engine.replayed) == (0, [])


def test_one_that_cannot_go_on_gives_up_its_place_first() -> None:
    stage = Stage(places=2, max_sessions=3, copy_bytes=1000)
    stage.play([start("idle", credits=1)], [start("a", credits=8), start("b", credits=8)])
    assert stage.engine.copied == 1  # two are at work, the third is moved out once and for all


def test_32_sessions_where_memory_allows_4_share_alike_and_each_is_as_alone(tmp_path: Path) -> None:
    alone = Direction(tmp_path / "alone")
    lone = [_start(number) for number in range(SESSIONS)]
    expected = {start.session: [chunk.frames_sha256 for chunk in _play(alone, [start]).chunks()] for start in lone}
    shared = Direction(tmp_path / "shared", generator=alone.generator, places=PLACES, copy_bytes=1 << 24)
    stage = _play(shared, lone)
    made = stage.chunks()
    for name, hashes in expected.items():
        assert [chunk.frames_sha256 for chunk in made if chunk.session == name] == hashes
    assert set(Counter(chunk.session for chunk in made).values()) == {SHARE}


def _start(number: int) -> Start:
    return Start(
        session=f"s{number:02}",
        prompts=(Prompt("a red ball"),),
        seed=number,
        credits=SHARE,
        format="raw",
        pacing="none",
    )


def _play(direction: Direction, starts: list[Start]) -> Stage:
    return direction.play([direction.say(*[direction.begin(start) for start in starts])])


def test_turns_are_even_at_every_moment() -> None:
    """Whoever is asked when: after any number of blocks no session has had a turn more than another."""
    stage = Stage(places=2, max_sessions=8, turn_blocks=1, copy_bytes=1000)
    turns: list[int] = []
    stage.engine.on_pass = lambda stream, number: turns.append(stream.seed) if number == 0 else None
    stage.play([msgspec.structs.replace(start(f"s{seed}", credits=6), seed=seed) for seed in range(8)])
    for made in range(8, len(turns) + 1, 8):
        assert set(Counter(turns[:made]).values()) == {made // 8}


def test_a_session_that_waits_without_a_place_can_be_ended() -> None:
    stage = Stage(places=1, max_sessions=2, copy_bytes=0)
    stage.play([start("a", credits=1), start("b", credits=1)], [Stop(session="a"), Credit(session="b")])
    a, _b = stage.of(Ended)
    assert isinstance(a, Ended)
    assert (a.session, a.chunks) == ("a", 1)
    assert len(stage.chunks("b")) == 2


def test_where_the_device_has_no_memory_everything_gives_way_and_it_is_tried_once_more() -> None:
    stage = Stage(places=3, max_sessions=3)
    left = [True]

    def run_out(stream: FakeStream, number: int) -> None:
        if left and stream.text == "b" and (stream.block, number) == (1, 2):
            left.pop()
            raise torch.OutOfMemoryError("the fake device is full")

    stage.engine.on_pass = run_out
    stage.play([start(name, text=name, credits=4) for name in "abc"])
    assert [len(stage.chunks(name)) for name in "abc"] == [4] * 3
    assert stage.of(Failed) == []
    assert stage.engine.open == 0
    assert stage.engine.replayed  # what a pass may have left half done is not trusted


def test_a_session_for_which_there_never_is_memory_fails_and_the_others_go_on() -> None:
    stage = Stage(places=3, max_sessions=3)

    def run_out(stream: FakeStream, number: int) -> None:
        if stream.text == "b" and stream.block == 1:
            raise torch.OutOfMemoryError("the fake device is full")

    stage.engine.on_pass = run_out
    stage.play([start(name, text=name, credits=4) for name in "abc"])
    (failed,) = stage.of(Failed)
    assert isinstance(failed, Failed)
    assert (failed.session, failed.code) == ("b", "out_of_memory")
    assert [len(stage.chunks(name)) for name in "abc"] == [4, 1, 4]
    assert stage.engine.open == 0


def test_a_parked_session_keeps_its_place_in_line(tmp_path: Path) -> None:
    stage = Stage(places=1, max_sessions=2, copy_bytes=0)
    at_pass(stage, 1, 0, lambda: stage.channel.put(start("b", credits=2)))
    stage.play([start("a", credits=3)])
    assert [len(stage.chunks(name)) for name in "ab"] == [3, 2]
