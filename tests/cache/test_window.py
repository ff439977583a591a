"""The window against a naive one that keeps a list of the frames it holds, over random policies and histories."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.recache import Mode, rebuild
from cache.window import (
    MAX_ABSOLUTE_FRAMES,
    PassPlan,
    Positions,
    SinkPolicy,
    WindowError,
    WindowSpec,
    WindowState,
)

STEPS = 24


@dataclass(slots=True)
class NaiveWindow:
    """The frames that are attended to, oldest first, as the published code's list of them would be."""

    spec: WindowSpec
    end: int = 0
    sink: list[int] = field(default_factory=list)
    ring: list[int] = field(default_factory=list)
    ring_begins: int = 0
    """The frame that lies at the ring's front."""

    def __post_init__(self) -> None:
        self.ring_begins = self.spec.sink_frames

    def hold(self, frames: list[int]) -> None:
        for frame in frames:
            (self.sink if len(self.sink) < self.spec.sink_frames else self.ring).append(frame)
        self.ring = self.ring[max(0, len(self.ring) - self.spec.ring) :]

    def add_block(self) -> list[int]:
        new = list(range(self.end, self.end + self.spec.block_frames))
        self.hold(new)
        self.end += self.spec.block_frames
        return new

    def change(self, mode: Mode, sink: SinkPolicy) -> list[int]:
        """Returns the frames that are rebuilt."""
        last = list(range(self.end - self.spec.block_frames, self.end))
        if mode == "cut":
            self.end, self.sink, self.ring, self.ring_begins = 0, [], [], self.spec.sink_frames
            return []
        if mode == "keep" or self.end == 0:
            return []
        if mode == "flush" and not set(last) & set(self.sink):
            self.ring, self.ring_begins = last, last[0]
            return last
        everything = list(range(max(0, self.end - self.spec.slots), self.end))
        self.ring_begins = self.spec.sink_frames
        if sink == "refresh" or everything[0] == 0 or mode == "flush":
            self.sink, self.ring = [], []
            self.hold(everything)
            return everything
        self.ring = everything[self.spec.sink_frames :]
        return self.ring

    def slot(self, frame: int) -> int:
        if frame in self.sink:
            return self.sink.index(frame)
        return self.spec.sink_frames + (frame - self.ring_begins) % self.spec.ring

    def sink_shift(self) -> int:
        """The sink stands directly before the oldest frame of the ring."""
        if self.spec.positions == "absolute" or not self.sink or not self.ring:
            return 0
        return self.ring[0] - len(self.sink) - self.sink[0]


@st.composite
def specs(draw: st.DrawFn) -> WindowSpec:
    block = draw(st.integers(1, 5))
    sink = draw(st.integers(0, block))
    positions: Positions = draw(st.sampled_from(("relative", "absolute")))
    if draw(st.integers(0, 4)) == 0:
        return WindowSpec(
            window_frames=None,
            sink_frames=sink,
            block_frames=block,
            positions=positions,
            capacity_frames=block * STEPS + draw(st.integers(0, 3)),
        )
    window = sink + block + draw(st.integers(0, 14))
    return WindowSpec(window_frames=window, sink_frames=sink, block_frames=block, positions=positions)


BLOCK = ("block", "keep")
OPERATIONS: tuple[tuple[str, SinkPolicy], ...] = (
    ("recache", "keep"),
    ("recache", "refresh"),
    ("flush", "keep"),
    ("flush", "refresh"),
    ("cut", "keep"),
    ("keep", "keep"),
)
histories = st.lists(
    st.one_of(st.just(BLOCK), st.just(BLOCK), st.just(BLOCK), st.sampled_from(OPERATIONS)), max_size=STEPS
)


def check_plan(plan: PassPlan, naive: NaiveWindow, fed: list[int], *, held: dict[int, int]) -> None:
    """`held` (slot -> frame) executes the plan; the plan feeds `fed` and attends to what the naive window holds."""
    assert list(range(plan.first_frame, plan.end_frame)) == fed
    assert [span.start for span in plan.writes] == [
        sum(span.length for span in plan.writes[:number]) for number in range(len(plan.writes))
    ]
    assert sum(span.length for span in plan.writes) == plan.frames
    for before, after in zip(plan.writes, plan.writes[1:], strict=False):
        assert before.slot + before.length != after.slot, "two spans that are one"
    for span in plan.writes:
        for offset in range(span.length):
            held[span.slot + offset] = fed[span.start + offset]
    frames = naive.sink + naive.ring
    assert sorted(held[slot] for slot in range(plan.valid_slots)) == sorted(frames)
    assert plan.valid_slots == len(frames) <= naive.spec.slots
    assert all(held[naive.slot(frame)] == frame for frame in frames)
    assert plan.sink_shift == naive.sink_shift()
    assert plan.writes_sink == bool(set(fed) & set(naive.sink))
    if plan.writes_sink:
        assert plan.sink_shift == 0
        assert set(naive.sink) <= set(fed), "a sink is made by one pass"


@settings(max_examples=200)
@given(specs(), histories)
def test_as_a_list_of_frames(spec: WindowSpec, history: list[tuple[str, SinkPolicy]]) -> None:
    state, naive = WindowState(spec), NaiveWindow(spec)
    held: dict[int, int] = {}
    for operation, sink in history:
        if operation == "block":
            plan = state.plan_block()
            assert plan == state.plan_clean(state.end)
            state = state.advance()
            check_plan(plan, naive, naive.add_block(), held=held)
        else:
            mode: Mode = next(mode for mode in ("recache", "flush", "cut", "keep") if mode == operation)
            state, rebuilt = rebuild(state, mode, sink=sink)
            fed = naive.change(mode, sink)
            assert (rebuilt is None) == (fed == [])
            if rebuilt is not None:
                check_plan(rebuilt, naive, fed, held=held)
        assert state.end == naive.end
        assert state.valid_slots(state.end) == len(naive.sink + naive.ring)


@settings(max_examples=100)
@given(specs(), histories)
def test_a_rebuild_reads_nothing_but_the_sink_and_itself(
    spec: WindowSpec, history: list[tuple[str, SinkPolicy]]
) -> None:
    """What replay rests on: a rebuild's outcome depends on latents, text and the sink alone."""
    state = WindowState(spec)
    for operation, sink in history:
        if operation == "block":
            state = state.advance()
            continue
        mode: Mode = next(mode for mode in ("recache", "flush", "cut", "keep") if mode == operation)
        state, plan = rebuild(state, mode, sink=sink)
        if plan is not None:
            written = {slot for span in plan.writes for slot in range(span.slot, span.slot + span.length)}
            assert set(range(plan.valid_slots)) == written | set(range(spec.sink_frames))


@settings(max_examples=100)
@given(specs(), st.integers(0, STEPS - 1), st.integers(0, STEPS - 1))
def test_a_slot_is_a_function_of_the_index(spec: WindowSpec, blocks: int, later: int) -> None:
    """Whatever the window's end, a block's clean pass writes the same slots; the layout is static once full."""
    first = blocks * spec.block_frames
    at_once = WindowState(spec).advance(blocks)
    assert at_once.plan_block().writes == WindowState(spec).advance(later).plan_clean(first).writes
    if spec.window_frames is None:
        return
    turns = range(at_once.end, at_once.end + 3 * spec.slots * spec.block_frames, spec.block_frames)
    valid = [at_once.valid_slots(end) for end in turns]
    assert valid == sorted(valid)
    assert valid[-1] == spec.slots


def attended(spec: WindowSpec, blocks: int) -> list[set[int]]:
    held: dict[int, int] = {}
    state, sets = WindowState(spec), []
    for _ in range(blocks):
        plan = state.plan_block()
        for span in plan.writes:
            frames = range(plan.first_frame + span.start, plan.first_frame + span.start + span.length)
            held.update(zip(range(span.slot, span.slot + span.length), frames, strict=True))
        sets.append({held[slot] for slot in range(plan.valid_slots)})
        state = state.advance()
    return sets


def test_published_table() -> None:
    """Frames attended to in blocks 0 to 13 with a window of 12 and a sink of 3 (longlive-spec 2.5)."""
    table = [{*range(3)}, {*range(6)}, {*range(9)}, {*range(12)}, {0, 1, 2, *range(6, 15)}]
    table += [{0, 1, 2, *range(3 * block - 6, 3 * block + 3)} for block in range(5, 14)]
    assert attended(WindowSpec(), 14) == table


def test_published_table_without_a_sink() -> None:
    assert attended(WindowSpec(window_frames=6, sink_frames=0), 5) == [
        {*range(3)},
        {*range(6)},
        {*range(3, 9)},
        {*range(6, 12)},
        {*range(9, 15)},
    ]


def test_published_recaches() -> None:
    """Slots that a switch rewrites (longlive-spec 4.2 and conformance test 7)."""

    def rewritten(frames: int, sink: SinkPolicy) -> set[int]:
        plan = WindowState(WindowSpec(), end=frames).plan_recache(sink).plan
        return {slot for span in plan.writes for slot in range(span.slot, span.slot + span.length)}

    policies: tuple[SinkPolicy, ...] = ("keep", "refresh")
    for sink in policies:
        assert rewritten(9, sink) == set(range(9))
        assert rewritten(12, sink) == set(range(12))
    assert rewritten(15, "keep") == set(range(3, 12))
    assert rewritten(15, "refresh") == set(range(12))
    refreshed = WindowState(WindowSpec(), end=15).plan_recache("refresh")
    assert (refreshed.plan.first_frame, refreshed.plan.writes_sink, refreshed.state.sink_start) == (3, True, 3)


def test_relative_positions_stand_still() -> None:
    """Once the window is full the present block begins nine positions after the sink's first frame, for ever."""
    for blocks in (3, 4, 100, 10**6):
        state = WindowState(WindowSpec()).advance(blocks)
        plan = state.plan_block()
        assert plan.first_frame - (state.sink_start + plan.sink_shift) == 9
    absolute = WindowState(WindowSpec(positions="absolute")).advance(300)
    assert absolute.plan_block().sink_shift == 0


def test_past_blocks() -> None:
    """Blocks of which a full window holds at least a frame, the sink aside."""
    for window, sink, block in ((12, 3, 3), (6, 0, 3), (8, 1, 3), (7, 2, 2), (6, 3, 3), (33, 3, 3), (10, 4, 4)):
        spec = WindowSpec(window_frames=window, sink_frames=sink, block_frames=block)
        last = attended(spec, 20)[-1]
        earlier = {frame // block for frame in last - set(range(sink))} - {19}
        assert spec.past_blocks == len(earlier)


def test_absolute_positions_are_used_up() -> None:
    spec = WindowSpec(positions="absolute")
    state = WindowState(spec).advance(MAX_ABSOLUTE_FRAMES // 3 - 1)
    assert state.plan_block().end_frame == MAX_ABSOLUTE_FRAMES == 1023
    with pytest.raises(WindowError, match=r"frames must be at most 1023 in absolute positions, not 1026") as caught:
        state.advance().plan_block()
    assert caught.value.field == "frames"
    WindowState(WindowSpec()).advance(10**6).plan_block()


def test_capacity_is_used_up() -> None:
    state = WindowState(WindowSpec(window_frames=None, capacity_frames=8))
    assert state.advance().plan_block().end_frame == 6
    with pytest.raises(WindowError, match=r"at most the cache's capacity 8, not 9"):
        state.advance(2).plan_block()


@pytest.mark.parametrize(
    ("field_name", "values"),
    [
        ("block_frames", {"block_frames": 0, "sink_frames": 0}),
        ("sink_frames", {"sink_frames": 4}),
        ("sink_frames", {"sink_frames": 2, "block_frames": 1}),
        ("sink_frames", {"sink_frames": -1}),
        ("positions", {"positions": "learned"}),
        ("window_frames", {"window_frames": 5}),
        ("window_frames", {"window_frames": 2, "sink_frames": 0}),
        ("window_frames", {"window_frames": 0, "sink_frames": 0}),
        ("window_frames", {"window_frames": -12}),
        ("capacity_frames", {"window_frames": None}),
        ("capacity_frames", {"window_frames": None, "capacity_frames": 2}),
        ("capacity_frames", {"capacity_frames": 12}),
    ],
)
def test_impossible_windows_are_refused(field_name: str, values: dict[str, object]) -> None:
    with pytest.raises(WindowError, match=rf"^{field_name} must be .* not ") as caught:
        WindowSpec(**values)  # type: ignore[arg-type]
    assert caught.value.field == field_name


def test_smallest_windows_are_accepted() -> None:
    assert WindowSpec(window_frames=6).past_blocks == 0
    assert WindowSpec(window_frames=1, sink_frames=0, block_frames=1).slots == 1
    assert WindowSpec(window_frames=None, sink_frames=3, capacity_frames=3).ring == 0
