"""A session's states, credits, media time and reports, without an engine or a thread."""

from pathlib import Path

import pytest

from service.errors import ErrorCode
from service.ipc import (
    Action,
    Chunk,
    Control,
    ControlApplied,
    Ended,
    Event,
    Failed,
    Interact,
    Prompt,
    Queued,
    Rejected,
    Start,
    Started,
    Superseded,
)
from service.worker.latents import LatentFiles
from service.worker.media import Lane
from service.worker.pacing import UnpacedPace
from service.worker.session import IllegalMove, Session, SessionState
from service.worker.timeline import Timeline
from tests.service.worker.fake_engine import FPS, FRAMES_PER_BLOCK, FakeBlock, fake_frames
from tests.service.worker.fakes import FACTS

BLOCK = FRAMES_PER_BLOCK / FPS


class Stage:
    """A session whose reports land in a list."""

    def __init__(
        self, *, max_seconds: float | None = None, credits: int = 2, event_id: str = "", limit: int = 4
    ) -> None:
        self.sent: list[Event] = []
        self.pace = UnpacedPace(opened_at=0.0)
        self.session = Session(
            Start(session="s", prompts=(Prompt("p"),), credits=credits, max_seconds=max_seconds, event_id=event_id),
            facts=FACTS,
            lane=Lane(self.sent.append),
            pace=self.pace,
            timeline=Timeline(limit),
            latents=LatentFiles(Path("nowhere"), "s"),
            arrived_at=1.0,
        )

    def running(self) -> "Stage":
        self.session.run(seed=5)
        return self

    def block(self, *, frames: int = FRAMES_PER_BLOCK, applied: tuple[str, ...] = (), now: float = 2.0) -> None:
        """Begin, finish and send a block."""
        due = self.session.begin_block(now)
        if due:
            self.session.handed(due[0], [one.event_id for one in due[1:]])
        made = FakeBlock(0, fake_frames(0, "p", 0, frames), applied, applied)
        self.job = self.session.finish_block(made, events=(), now=now)
        self.job.lane.fill(self.job.place, lambda _send, _now: None)

    def accept(self, event_id: str, *, at: float | None = None, in_making: bool = False) -> bool:
        command = Interact(session="s", event_id=event_id, prompts=(Prompt("q"),), at=at)
        return self.session.accept(command, arrived_at=1.5, in_making=in_making)

    def control(self, action: Action, *, quality: int | None = None, in_making: bool = False) -> None:
        command = Control(session="s", action=action, quality=quality, event_id="c")
        self.session.control(command, now=2.0, in_making=in_making)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.sent if isinstance(event, kind)]


def test_a_life_from_start_to_end() -> None:
    stage = Stage()
    assert stage.session.state is SessionState.STARTING
    assert not stage.session.ready
    stage.running()
    stage.block()
    stage.session.end("stopped", journal="{}")
    assert stage.session.ended
    started, ended = stage.sent
    assert isinstance(started, Started)
    assert (started.seed, started.fps, started.frames_per_block) == (5, FPS, FRAMES_PER_BLOCK)
    assert ended == Ended(session="s", reason="stopped", chunks=1, frames=FRAMES_PER_BLOCK, journal="{}")


@pytest.mark.parametrize("last", ["end", "fail"])
def test_nothing_follows_the_end(last: str) -> None:
    stage = Stage().running()
    stage.session.end("stopped", journal="")
    with pytest.raises(IllegalMove, match="expected nothing next, got ended"):
        stage.session.end("stopped", journal="") if last == "end" else stage.session.fail("c", "m")
    assert len(stage.of(Ended)) == 1
    with pytest.raises(IllegalMove, match="got paused"):
        stage.control("pause")


def test_an_illegal_move_names_what_was_expected() -> None:
    with pytest.raises(IllegalMove, match="is starting: expected ended, running next, got paused"):
        Stage().control("pause")


def test_pause_and_resume_may_be_said_twice_and_are_answered_each_time() -> None:
    stage = Stage().running()
    steps: list[tuple[Action, bool]] = [("pause", False), ("pause", False), ("resume", True), ("resume", True)]
    for action, ready in steps:
        stage.control(action)
        assert stage.session.ready is ready
    assert len(stage.of(ControlApplied)) == 4


def test_a_pause_holds_from_the_block_after_the_one_in_the_making() -> None:
    stage = Stage().running()
    stage.block()
    stage.control("pause", in_making=True)
    stage.block()
    stage.control("pause")
    assert [event.sequence for event in stage.of(ControlApplied) if isinstance(event, ControlApplied)] == [2, 2]


def test_quality_holds_from_the_next_chunk_on() -> None:
    stage = Stage().running()
    stage.block()
    assert stage.job.quality == 85
    stage.control("quality", quality=40)
    stage.block()
    assert (stage.job.sequence, stage.job.quality) == (1, 40)
    assert stage.of(ControlApplied) == [
        ControlApplied(session="s", action="quality", quality=40, sequence=1, event_id="c")
    ]


def test_it_fails_before_it_ran_with_one_message() -> None:
    stage = Stage()
    stage.session.fail("prompt_empty", "m", field="prompt")
    assert stage.sent == [Failed(session="s", code="prompt_empty", message="m", field="prompt")]


def test_credits_are_spent_by_blocks_and_granted_back() -> None:
    stage = Stage(credits=1).running()
    stage.block()
    assert not stage.session.ready
    stage.session.grant(1)
    assert stage.session.ready


def test_media_time_is_the_frames_before_also_over_cuts() -> None:
    stage = Stage(credits=9).running()
    times = []
    for frames in (2, 4, 4, 2, 4):  # a new scene begins with the fourth block
        stage.block(frames=frames)
        times.append(stage.job.pts)
    assert times == [0.0, 2 / FPS, 6 / FPS, 10 / FPS, 12 / FPS]
    assert stage.job.sequence == 4


@pytest.mark.parametrize(("seconds", "blocks"), [(0.01, 1), (BLOCK, 1), (BLOCK + 0.01, 2), (3 * BLOCK, 3)])
def test_the_asked_length_is_reached_after_whole_blocks(seconds: float, blocks: int) -> None:
    stage = Stage(max_seconds=seconds, credits=99).running()
    made = 0
    while not stage.session.complete:
        stage.block()
        made += 1
    assert made == blocks


def test_an_immediate_interaction_is_queued_and_wanted_now() -> None:
    stage = Stage().running()
    assert stage.accept("e")
    assert stage.of(Queued) == [Queued(session="s", event_id="e", ahead_blocks=0)]


def test_one_that_cannot_stop_the_block_in_the_making_has_it_ahead() -> None:
    stage = Stage().running()
    assert stage.accept("e", in_making=True)
    assert stage.of(Queued) == [Queued(session="s", event_id="e", ahead_blocks=1)]


def test_a_scheduled_one_takes_effect_at_the_first_block_that_begins_at_or_after_it() -> None:
    stage = Stage(credits=9).running()
    assert not stage.accept("e", at=1.2 * BLOCK)
    assert stage.of(Queued) == [Queued(session="s", event_id="e", ahead_blocks=2)]
    due = []
    for _ in range(4):
        due.append([one.event_id for one in stage.session.begin_block(2.0)])
        stage.block(applied=("e",) if due[-1] else ())
    assert due == [[], [], ["e"], []]


def test_applied_is_measured_from_arrival_to_the_begin_of_its_block() -> None:
    stage = Stage().running()
    stage.accept("e")
    stage.block(applied=("e",), now=3.0)
    (application,) = stage.job.applications
    assert (application.event_id, application.arrived_at, application.begun_at) == ("e", 1.5, 3.0)
    assert (stage.job.event_ids, stage.job.started_event_ids) == (("e",), ("e",))
    stage.block()
    assert (stage.job.event_ids, stage.job.started_event_ids) == (("e",), ())


def test_the_first_prompt_is_an_event_too_if_it_has_an_id() -> None:
    stage = Stage(event_id="first").running()
    stage.block()
    assert (stage.job.event_ids, stage.job.started_event_ids) == (("first",), ("first",))
    assert [one.arrived_at for one in stage.job.applications] == [1.0]
    stage.block()
    assert stage.job.started_event_ids == ()


def test_the_newest_of_those_due_together_supersedes_the_others() -> None:
    stage = Stage().running()
    for event_id in ("a", "b", "c"):
        stage.accept(event_id)
    stage.block(applied=("c",))
    assert {event.event_id for event in stage.of(Superseded) if isinstance(event, Superseded)} == {"a", "b"}
    assert stage.job.started_event_ids == ("c",)


def test_what_is_decided_is_not_reported_again() -> None:
    stage = Stage().running()
    stage.accept("a")
    stage.block(applied=("a",))
    stage.accept("b")
    (pending,) = stage.session.begin_block(2.0)
    stage.session.handed(pending, ["a", "b", ""])  # the engine names one that was applied, itself, and none
    assert stage.of(Superseded) == []


def test_a_full_timeline_rejects_and_says_why() -> None:
    stage = Stage(limit=1).running()
    stage.accept("a")
    assert not stage.accept("b")
    (rejected,) = stage.of(Rejected)
    assert isinstance(rejected, Rejected)
    assert (rejected.event_id, rejected.code) == ("b", ErrorCode.INTERACTIONS_FULL)


def test_a_refused_one_is_rejected_and_its_place_free() -> None:
    stage = Stage(limit=1).running()
    stage.accept("a")
    stage.session.refuse("a", code="prompt_invalid", message="m", field="prompt")
    assert stage.accept("b")
    assert stage.of(Rejected) == [
        Rejected(session="s", event_id="a", code="prompt_invalid", message="m", field="prompt")
    ]
    assert stage.of(Chunk) == []
