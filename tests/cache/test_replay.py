"""Clean-pass replay against a live run, with a symbolic cache: no tensors, only what each key and value depends on.

A slot of a layer holds a hash of what its pass was given one layer below: the frame's own input, everything that it
attended to in the order of the slots, where the sink stood, and the text. Two caches that are equal here were made
by the same computations.
"""

from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.recache import MODES, SINK_POLICIES, Mode, rebuild
from cache.replay import Change, ReplayPlan, plan_replay
from cache.window import PassPlan, SinkPolicy, WindowSpec, WindowState

BLOCKS = 14
Frame = tuple[object, ...]


class SymbolicCache:
    def __init__(self, spec: WindowSpec, layers: int) -> None:
        self.spec = spec
        self.slots = [[0] * spec.slots for _ in range(layers)]

    def run(self, plan: PassPlan, frames: list[Frame], text: int) -> None:
        """One pass over `frames`, which say which latents they are."""
        hidden = [hash((plan.first_frame + number, *frame)) for number, frame in enumerate(frames)]
        for layer in self.slots:
            for span in plan.writes:
                layer[span.slot : span.slot + span.length] = hidden[span.start : span.start + span.length]
            seen = hash((tuple(layer[: plan.valid_slots]), plan.sink_shift))
            hidden = [hash((own, seen, text)) for own in hidden]

    def seen_by(self, plan: PassPlan) -> list[list[int]]:
        """What the passes of a block read of the past, layer by layer."""
        own = {slot for span in plan.writes for slot in range(span.slot, span.slot + span.length)}
        return [[layer[slot] for slot in range(plan.valid_slots) if slot not in own] for layer in self.slots]


@dataclass(slots=True)
class Live:
    """A stream as the generator runs it: noisy passes, a clean pass that is put off, and changes of the past."""

    cache: SymbolicCache
    window: WindowState
    next_block: int = 0
    scene_start: int = 0
    text: int = 0
    uncommitted: PassPlan | None = None
    changes: list[Change] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    """The text of each block made."""

    def frames(self, plan: PassPlan) -> list[Frame]:
        start = self.scene_start * self.window.spec.block_frames
        return [("clean", start + frame) for frame in range(plan.first_frame, plan.end_frame)]

    def commit(self) -> None:
        if self.uncommitted is not None:
            self.cache.run(self.uncommitted, self.frames(self.uncommitted), self.texts[-1])
        self.uncommitted = None

    def change(self, mode: Mode, sink: SinkPolicy) -> None:
        if mode == "keep":
            self.commit()
        self.changes.append(Change(self.next_block, mode, sink, len(self.changes)))
        self.text = len(self.changes)
        self.window, plan = rebuild(self.window, mode, sink=sink)
        if mode == "cut":
            self.scene_start = self.next_block
        if plan is not None or mode == "cut":
            self.uncommitted = None
        if plan is not None:
            self.cache.run(plan, self.frames(plan), self.text)

    def make_block(self) -> None:
        self.commit()
        plan = self.window.plan_block()
        noisy: list[Frame] = [("noisy", self.next_block, number) for number in range(plan.frames)]
        self.cache.run(plan, noisy, self.text)
        self.texts.append(self.text)
        self.uncommitted = plan
        self.window = self.window.advance()
        self.next_block += 1


def replayed(live: Live, plan: ReplayPlan) -> SymbolicCache:
    cache = SymbolicCache(live.cache.spec, len(live.cache.slots))
    start = plan.scene_start * live.cache.spec.block_frames
    for item in plan.passes:
        frames: list[Frame] = [("clean", start + frame) for frame in range(item.plan.first_frame, item.plan.end_frame)]
        text = live.texts[item.block] if item.event is None else item.event + 1
        cache.run(item.plan, frames, text)
    return cache


def check_restored(live: Live) -> None:
    """Replayed to here, the next block reads the same and stands at the same place."""
    spec, layers = live.cache.spec, len(live.cache.slots)
    committed = deepcopy(live)
    committed.commit()
    plan = plan_replay(spec, layers=layers, changes=live.changes, block=live.next_block)
    assert (plan.window, plan.scene_start) == (live.window, live.scene_start)
    following = live.window.plan_block()
    assert replayed(live, plan).seen_by(following) == committed.cache.seen_by(following)
    if spec.window_frames is not None:
        assert len(plan.passes) <= 2 + spec.past_blocks * layers
    read = [plan.scene_start + item.plan.first_frame // spec.block_frames for item in plan.passes]
    assert plan.first_block() == min(read, default=plan.scene_start)


SPECS = (
    WindowSpec(),
    WindowSpec(positions="absolute"),
    WindowSpec(window_frames=6, sink_frames=0),
    WindowSpec(window_frames=6),
    WindowSpec(window_frames=8, sink_frames=1),
    WindowSpec(window_frames=7, sink_frames=2, block_frames=2),
    WindowSpec(window_frames=4, sink_frames=0, block_frames=1),
    WindowSpec(window_frames=None, sink_frames=0, capacity_frames=3 * BLOCKS + 3),
    WindowSpec(window_frames=None, sink_frames=3, capacity_frames=3 * BLOCKS + 3),
)
modes = st.tuples(st.sampled_from(MODES), st.sampled_from(SINK_POLICIES))
schedules = st.dictionaries(st.integers(0, BLOCKS - 1), st.lists(modes, min_size=1, max_size=2), max_size=6)


@settings(max_examples=150)
@given(st.sampled_from(SPECS), st.integers(2, 4), schedules)
def test_replay_does_what_the_live_run_did(
    spec: WindowSpec, layers: int, schedule: dict[int, list[tuple[Mode, SinkPolicy]]]
) -> None:
    live = Live(SymbolicCache(spec, layers), WindowState(spec))
    for block in range(BLOCKS):
        check_restored(live)
        for mode, sink in schedule.get(block, []):
            live.change(mode, sink)
        live.make_block()
    check_restored(live)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sink", SINK_POLICIES)
def test_long_after_a_change_only_its_sink_is_felt(mode: Mode, sink: SinkPolicy) -> None:
    spec, layers = WindowSpec(), 2
    changes = [Change(6, mode, sink, 0)]
    plan = plan_replay(spec, layers=layers, changes=changes, block=40)
    sinks, cleans = plan.passes[:-4], plan.passes[-4:]
    assert [(item.block, item.event) for item in cleans] == [(block, None) for block in range(36, 40)]
    remade = mode == "recache" and sink == "refresh"
    expected = (6, 0) if remade else (6, None) if mode == "cut" else (0, None)
    assert [(item.block, item.event) for item in sinks] == [expected]


def test_a_shorter_plan_is_not_enough() -> None:
    """The comparison can fail: without the oldest of the blocks that are felt the cache is another."""
    live = Live(SymbolicCache(WindowSpec(), 3), WindowState(WindowSpec()))
    for _ in range(12):
        live.make_block()
    live.commit()
    plan = plan_replay(live.window.spec, layers=3, changes=(), block=12)
    following = live.window.plan_block()
    seen = live.cache.seen_by(following)
    assert replayed(live, plan).seen_by(following) == seen
    sink, _, *rest = plan.passes
    shorter = ReplayPlan(plan.window, plan.scene_start, (sink, *rest))
    assert replayed(live, shorter).seen_by(following) != seen


def test_nothing_is_run_for_the_beginning_of_a_scene() -> None:
    assert plan_replay(WindowSpec(), layers=2, changes=(), block=0).passes == ()
    cut = plan_replay(WindowSpec(), layers=2, changes=[Change(4, "cut", "keep", 0)], block=5)
    assert (cut.scene_start, cut.first_block(), len(cut.passes)) == (4, 4, 1)


def test_changes_come_in_order_and_before_the_block() -> None:
    late = Change(5, "recache", "keep", 0)
    with pytest.raises(AssertionError):
        plan_replay(WindowSpec(), layers=2, changes=[late], block=5)
    with pytest.raises(AssertionError):
        plan_replay(WindowSpec(), layers=2, changes=[late, Change(3, "flush", "keep", 1)], block=9)
