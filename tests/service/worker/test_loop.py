"""The loop with a fake engine: turns, interruptions, credits, pacing, and errors that stay with their session."""

import functools
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import pytest

from models.errors import PositionLimitError
from service.errors import ErrorCode
from service.ipc import (
    Applied,
    Chunk,
    Command,
    Credit,
    Ended,
    Event,
    Failed,
    Interact,
    IpcError,
    Mode,
    Pacing,
    Pause,
    Prompt,
    Queued,
    Rejected,
    Resume,
    SessionEvent,
    Shutdown,
    Start,
    Started,
    Stop,
    Superseded,
)
from service.worker.loop import Loop
from service.worker.settings import WorkerSettings
from tests.service.worker.fakes import (
    FACTS,
    FIRST_FRAMES,
    FPS,
    FRAMES_PER_BLOCK,
    PASSES,
    SETTINGS,
    Clock,
    FakeChannel,
    FakeEngine,
    FakeStream,
    fake_frames,
)

PATIENCE = 5.0


class Stage:
    """A loop over fakes. Whenever it would rest, what was made has left, and the next act is played; then it ends."""

    def __init__(self, **changes: object) -> None:
        self.clock = Clock()
        self.engine = FakeEngine()
        self.channel = FakeChannel(self.clock)
        settings: WorkerSettings = msgspec.structs.replace(SETTINGS, **changes)
        self.loop = Loop(self.engine, FACTS, settings, channel=self.channel, clock=self.clock)
        self.channel.script = self._rest
        self._acts: list[Callable[[], None]] = []

    def play(self, *acts: Sequence[Command] | Callable[[], None]) -> list[Event]:
        for act in acts:
            self._acts.append(act if callable(act) else functools.partial(self.channel.put, *act))
        self.loop.run()
        return self.channel.sent

    def of(self, kind: type[SessionEvent], session: str = "") -> list[SessionEvent]:
        events = [event for event in self.channel.sent if isinstance(event, kind)]
        return [event for event in events if session in ("", event.session)]

    def chunks(self, session: str = "") -> list[Chunk]:
        return [event for event in self.of(Chunk, session) if isinstance(event, Chunk)]

    def wait_for_media(self) -> None:
        ends_at = time.monotonic() + PATIENCE
        while len(self.chunks()) < self.loop.progress.blocks and time.monotonic() < ends_at:
            time.sleep(0.001)

    def _rest(self, timeout: float) -> None:
        self.wait_for_media()
        if self._acts:
            self._acts.pop(0)()
        else:
            self.channel.put(Shutdown())


def start(
    session: str = "s", *, text: str = "p", credits: int = 3, pacing: Pacing = "none", max_seconds: float | None = None
) -> Start:
    return Start(
        session=session, prompts=(Prompt(text),), seed=7, credits=credits, pacing=pacing, max_seconds=max_seconds,
        format="raw",
    )  # fmt: skip


def interact(
    event_id: str, *, session: str = "s", text: str = "q", mode: Mode = "recache", at: float | None = None
) -> Interact:
    return Interact(session=session, event_id=event_id, prompts=(Prompt(text),), mode=mode, at=at)


def at_pass(stage: Stage, block: int, number: int, action: Callable[[], None]) -> None:
    """Do something once, before this pass of this block."""
    left = [action]

    def on_pass(stream: FakeStream, pass_number: int) -> None:
        if left and (stream.block, pass_number) == (block, number):
            left.pop()()

    stage.engine.on_pass = on_pass


def test_a_session_makes_what_its_credits_allow_and_ends_when_stopped() -> None:
    stage = Stage()
    sent = stage.play([start(credits=3)], [Credit(session="s", chunks=2)], [Stop(session="s")])
    assert [type(event) for event in sent] == [Started, *[Chunk] * 5, Ended]
    assert [chunk.sequence for chunk in stage.chunks()] == list(range(5))
    assert [chunk.pts for chunk in stage.chunks()] == [0.0, *[(2 + 4 * n) / FPS for n in range(4)]]
    frames = FIRST_FRAMES + 4 * FRAMES_PER_BLOCK
    assert sent[-1] == Ended(session="s", reason="stopped", chunks=5, frames=frames, journal='[[0, "p"]]')
    (stream,) = stage.engine.streams
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


def test_an_impossible_change_is_rejected_before_it_is_queued() -> None:
    stage = Stage()
    impossible = msgspec.structs.replace(interact("e", mode="cut"), transition_chunks=3)
    stage.play([start(credits=1), impossible])
    (rejected,) = stage.of(Rejected)
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.field) == ("transition_invalid", "transition_chunks")
    assert stage.of(Queued) == []


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


def test_the_end_is_the_last_message_whatever_was_waiting() -> None:
    stage = Stage()
    sent = stage.play(
        [start(credits=2)], [interact("e", at=99.0), Stop(session="s"), interact("late"), Stop(session="s")]
    )
    assert isinstance(sent[-1], Ended)
    assert len(stage.of(Ended)) == 1
    assert len(stage.of(Queued)) == 1


def test_stop_gives_up_the_block_in_the_making() -> None:
    stage = Stage()
    at_pass(stage, 1, 1, lambda: stage.channel.put(Stop(session="s")))
    sent = stage.play([start(credits=9)])
    assert [type(event) for event in sent] == [Started, Chunk, Ended]
    assert stage.engine.streams[0].closed


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


def test_pause_holds_and_resume_goes_on() -> None:
    stage = Stage()
    seen: list[int] = []
    stage.play(
        [start(credits=1)],
        [Pause(session="s"), Credit(session="s", chunks=2)],
        lambda: seen.append(len(stage.chunks())),
        [Resume(session="s")],
    )
    assert seen == [1]
    assert len(stage.chunks()) == 3


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


def test_a_signal_drains_too() -> None:
    stage = Stage()
    stage.play([start("a")], stage.loop.ask_drain)
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
