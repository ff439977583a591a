"""The loop with a fake engine: turns, interruptions, credits, pacing, and errors that stay with their session."""

import itertools
from collections import Counter

import pytest

from models.errors import PositionLimitError
from service.ipc import (
    Applied,
    Chunk,
    Credit,
    Ended,
    Failed,
    IpcError,
    Queued,
    Rejected,
    Shutdown,
    Started,
    Stop,
    Superseded,
)
from tests.service.worker.fake_engine import FIRST_FRAMES, FPS, FRAMES_PER_BLOCK, PASSES, FakeStream, fake_frames
from tests.service.worker.stage import Stage, at_pass, interact, start


def test_a_session_makes_what_its_credits_allow_and_ends_when_stopped() -> None:
    stage = Stage()
    sent = stage.play([start(credits=3)], [Credit(session="s", chunks=2)], [Stop(session="s")])
    assert [type(event) for event in sent] == [Started, *[Chunk] * 5, Ended]
    assert [chunk.sequence for chunk in stage.chunks()] == list(range(5))
    assert [chunk.pts for chunk in stage.chunks()] == [0.0, *[(2 + 4 * n) / FPS for n in range(4)]]
    frames = FIRST_FRAMES + 4 * FRAMES_PER_BLOCK
    (stream,) = stage.engine.streams
    assert sent[-1] == Ended(session="s", reason="stopped", chunks=5, frames=frames, journal=stream.journal.to_json())
    assert (stream.closed, stream.committed) == (True, 5)


def test_the_asked_length_ends_a_session_after_whole_blocks() -> None:
    stage = Stage()
    sent = stage.play([start(credits=9, max_seconds=1.0)])
    assert len(stage.chunks()) == 3  # 2 + 4 + 4 frames of 8 a second
    assert isinstance(sent[-1], Ended)
    assert sent[-1].reason == "completed"


def test_three_sessions_take_turns_and_none_is_changed_by_the_others() -> None:
    stage = Stage(max_sessions=3)
    stage.play([start("a", text="x"), start("b", text="y"), start("c", text="z")])
    assert [chunk.session for chunk in stage.chunks() if chunk.sequence == 2] != []
    order = [stream.text for stream in stage.engine.streams]
    assert order == ["x", "y", "z"]
    for session, text in (("a", "x"), ("b", "y"), ("c", "z")):
        made = [chunk.payload for chunk in stage.chunks(session)]
        counts = [FIRST_FRAMES, FRAMES_PER_BLOCK, FRAMES_PER_BLOCK]
        assert made == [fake_frames(7, text, n, count).tobytes() for n, count in enumerate(counts)]


def test_turns_are_fair_among_unpaced_sessions() -> None:
    stage = Stage()
    turns: list[str] = []
    stage.engine.on_pass = lambda stream, number: turns.append(stream.text) if number == 0 else None
    stage.play([start("a", text="a"), start("b", text="b"), start("c", text="c")])
    assert turns == ["a", "b", "c"] * 3


def test_a_prompt_between_blocks_takes_effect_with_the_next() -> None:
    stage = Stage()
    stage.play([start(credits=2)], [interact("e"), Credit(session="s", chunks=2)])
    (applied,) = stage.of(Applied)
    assert isinstance(applied, Applied)
    assert (applied.sequence, applied.block) == (2, 2)
    assert [chunk.started_event_ids for chunk in stage.chunks()] == [(), (), ("e",), ()]
    assert [chunk.event_ids for chunk in stage.chunks()] == [(), (), ("e",), ("e",)]
    assert stage.chunks()[2].payload == fake_frames(7, "q", 2, FRAMES_PER_BLOCK).tobytes()


def test_a_prompt_interrupts_the_block_in_the_making_of_its_session() -> None:
    stage = Stage()
    at_pass(stage, 1, 2, lambda: stage.channel.put(interact("e")))
    stage.play([start(credits=3)])
    assert stage.of(Queued) == [Queued(session="s", event_id="e", ahead_blocks=0)]
    assert [chunk.started_event_ids for chunk in stage.chunks()] == [(), ("e",), ()]
    assert stage.engine.passes == 3 * PASSES + 3  # three passes of the block that was given up
    assert len(stage.engine.streams[0].journal.events) == 2


def test_interruption_can_be_turned_off() -> None:
    stage = Stage(interrupts_per_block=0)
    at_pass(stage, 1, 2, lambda: stage.channel.put(interact("e")))
    stage.play([start(credits=3)])
    assert stage.of(Queued) == [Queued(session="s", event_id="e", ahead_blocks=1)]
    assert [chunk.started_event_ids for chunk in stage.chunks()] == [(), (), ("e",)]
    assert stage.engine.passes == 3 * PASSES


def test_a_flood_of_prompts_cannot_stop_the_picture() -> None:
    stage = Stage(interrupts_per_block=2, interaction_queue=64)
    numbers = iter(range(40))
    stage.engine.on_pass = lambda stream, _number: stage.channel.put(interact(f"e{next(numbers, 'last')}"))
    stage.play([start(credits=4)])
    assert len(stage.chunks()) == 4
    assert stage.engine.passes <= 4 * 3 * PASSES


def test_a_prompt_of_another_session_interrupts_nothing() -> None:
    stage = Stage()
    at_pass(stage, 1, 2, lambda: stage.channel.put(interact("e", session="b")))
    stage.play([start("a", credits=2), start("b", credits=2)])
    assert stage.engine.passes == 4 * PASSES


def test_a_scheduled_prompt_waits_for_its_media_time() -> None:
    stage = Stage()
    stage.play([start(credits=5), interact("e", at=1.0)])
    assert [chunk.started_event_ids for chunk in stage.chunks()] == [(), (), (), ("e",), ()]
    assert stage.chunks()[3].pts >= 1.0 > stage.chunks()[2].pts


def test_of_several_due_together_only_the_newest_is_made() -> None:
    stage = Stage()
    stage.play([start(credits=1)], [interact("a"), interact("b"), Credit(session="s")])
    assert stage.of(Superseded) == [Superseded(session="s", event_id="a", by="b")]
    assert [applied.event_id for applied in stage.of(Applied) if isinstance(applied, Applied)] == ["b"]


def test_a_prompt_the_engine_has_but_has_not_applied_is_superseded_by_a_newer_one() -> None:
    stage = Stage()
    at_pass(stage, 1, 1, lambda: stage.channel.put(interact("b")))
    stage.play([start(credits=1)], [interact("a"), Credit(session="s")])
    assert stage.of(Superseded) == [Superseded(session="s", event_id="a", by="b")]
    assert stage.chunks()[1].started_event_ids == ("b",)


def test_a_prompt_the_engine_refuses_is_rejected_and_the_one_before_it_holds() -> None:
    stage = Stage()
    stage.play([start(credits=1)], [interact("a"), interact("b", text="refuse"), Credit(session="s")])
    (rejected,) = stage.of(Rejected)
    assert isinstance(rejected, Rejected)
    assert (rejected.event_id, rejected.code, rejected.field) == ("b", "prompt_invalid", "prompts.0.text")
    assert stage.chunks()[1].started_event_ids == ("a",)
    assert stage.of(Superseded) == []


def test_every_interaction_ends_once() -> None:
    stage = Stage(interaction_queue=4)
    numbers = iter(range(1000))

    def more(stream: FakeStream, number: int) -> None:
        if number % 2:
            which = next(numbers)
            text = "refuse" if which % 5 == 0 else f"q{which}"
            stage.channel.put(interact(f"e{which}", text=text, at=which / 10 if which % 3 == 0 else None))

    stage.engine.on_pass = more
    stage.play([start(credits=60)])
    queued = {event.event_id for event in stage.of(Queued) if isinstance(event, Queued)}
    fates = Counter(
        event.event_id for event in stage.channel.sent if isinstance(event, Applied | Superseded | Rejected)
    )
    assert len(queued) > 40
    assert set(fates.values()) == {1}
    assert len(queued - set(fates)) <= 4  # what still waited when the session ended


def test_an_error_of_one_session_leaves_the_others() -> None:
    stage = Stage()

    def refuse_later(stream: FakeStream, number: int) -> None:
        if stream.text == "bad" and stream.block == 1:
            raise PositionLimitError("expected an end before this", field="seconds")

    stage.engine.on_pass = refuse_later
    stage.play([start("a", text="bad"), start("b")])
    (failed,) = stage.of(Failed)
    assert failed == Failed(session="a", code="position_limit", message="expected an end before this", field="seconds")
    assert len(stage.chunks("b")) == 3
    assert all(stream.closed for stream in stage.engine.streams)


def test_any_other_error_leaves_the_loop() -> None:
    stage = Stage()

    def fault(stream: FakeStream, number: int) -> None:
        raise RuntimeError("device-side assert")

    stage.engine.on_pass = fault
    with pytest.raises(RuntimeError, match="device-side"):
        stage.play([start()])


def test_a_broken_channel_leaves_the_loop() -> None:
    stage = Stage()
    at_pass(stage, 1, 0, lambda: setattr(stage.channel, "broken", True))
    with pytest.raises(IpcError):
        stage.play([start(credits=2)], [])


def test_a_signal_drains_too() -> None:
    stage = Stage()
    stage.play([start("a")], stage.loop.ask_drain)
    (ended,) = stage.of(Ended)
    assert isinstance(ended, Ended)
    assert ended.reason == "drained"


def test_a_realtime_session_is_made_just_in_time() -> None:
    stage = Stage(poll_interval=60.0)
    begun: list[float] = []
    block = FRAMES_PER_BLOCK / FPS

    def rest(timeout: float) -> None:
        stage.wait_for_media()
        if len(begun) < 8:
            stage.clock.now += timeout if timeout < 60.0 else 0.0
        else:
            stage.channel.put(Shutdown())

    stage.engine.on_pass = lambda _stream, number: begun.append(stage.clock.now) if number == 0 else None
    stage.channel.script = rest
    stage.channel.put(start(credits=99, pacing="realtime"))
    stage.loop.run()
    gaps = [round(later - earlier, 6) for earlier, later in itertools.pairwise(begun)]
    assert gaps[:1] == [0.0]  # up to the lead at once
    assert gaps[2:] == [block] * (len(gaps) - 2)


def test_waits_are_bounded_by_the_poll_interval() -> None:
    stage = Stage(poll_interval=0.05)
    stage.play([], [start(credits=1)], [])
    assert stage.channel.waits != []
    assert max(stage.channel.waits) <= 0.05


def test_progress_tells_work_from_rest() -> None:
    stage = Stage()
    busy: list[bool] = []
    at_pass(stage, 0, 0, lambda: busy.append(stage.loop.progress.busy))
    stage.play([start(credits=1)], lambda: busy.append(stage.loop.progress.busy))
    assert busy == [True, False]
    assert stage.loop.progress.blocks == 1
