"""Which slot of the cache a latent frame lives in, at which position it stands, and what is thrown away.

Integers only: no tensor, no torch. The cache holds `sink_frames` slots for the first frames of a scene and a
ring for the rest. A frame's slot is a function of its index and of the last flush alone, so a restored stream
has the same order of keys as one that was never stopped (attention is not bit-exact under reordering).
While the window fills, the slots in use are a prefix; once it is full they are all of them, for ever.

Frames are counted within a scene: a cut starts again at 0.
"""

from dataclasses import dataclass, replace
from typing import Literal

Positions = Literal["relative", "absolute"]
SinkPolicy = Literal["keep", "refresh"]

MAX_ABSOLUTE_FRAMES = 1023
"""Whole latent frames that the published 1,024-row table of absolute positions has room for (longlive-spec 2.7)."""


class WindowError(ValueError):
    """A window that cannot work; the message names the field, what was expected and what was given."""

    def __init__(self, field: str, expected: str, *, found: object) -> None:
        super().__init__(f"{field} must be {expected}, not {found!r}")
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpec:
    """The policy of one cache. `window_frames` counts sink, past and the block in the making together.

    `window_frames=None` attends to everything; the caller then says how many frames there can be
    (`capacity_frames`).
    """

    window_frames: int | None = 12
    sink_frames: int = 3
    block_frames: int = 3
    positions: Positions = "relative"
    capacity_frames: int | None = None

    def __post_init__(self) -> None:
        _check(self.block_frames >= 1, "block_frames", "at least 1", self.block_frames)
        # With a sink longer than a block the published bookkeeping keeps noisy keys in it (longlive-spec 2.4).
        one_block = f"0..{self.block_frames} (one block)"
        _check(0 <= self.sink_frames <= self.block_frames, "sink_frames", one_block, self.sink_frames)
        _check(self.positions in ("relative", "absolute"), "positions", "'relative' or 'absolute'", self.positions)
        if self.window_frames is None:
            found = self.capacity_frames
            _check(found is not None and found >= self.block_frames, "capacity_frames", "at least one block", found)
        else:
            least = self.sink_frames + self.block_frames
            _check(self.window_frames >= least, "window_frames", f"at least sink + block = {least}", self.window_frames)
            _check(self.capacity_frames is None, "capacity_frames", "None beside a window", self.capacity_frames)

    @property
    def slots(self) -> int:
        """Slots of the cache, in frames."""
        slots = self.window_frames if self.window_frames is not None else self.capacity_frames
        assert slots is not None
        return slots

    @property
    def ring(self) -> int:
        """Slots of the ring, in frames; the block in the making is in it."""
        return self.slots - self.sink_frames

    @property
    def past_blocks(self) -> int:
        """Blocks before the present one of which the present one sees at least a frame (sink aside)."""
        return -(-(self.ring - self.block_frames) // self.block_frames)


@dataclass(frozen=True, slots=True)
class Span:
    """`length` frames of a pass, beginning with its frame `start`, go to the slots from `slot` on."""

    start: int
    slot: int
    length: int


@dataclass(frozen=True, slots=True)
class PassPlan:
    """One forward pass over `frames` frames from `first_frame` on, as the cache and the transformer need it."""

    first_frame: int
    frames: int
    writes: tuple[Span, ...]
    valid_slots: int
    """The pass attends to the slots 0..valid_slots-1."""
    sink_shift: int
    """How many positions the sink's keys stand after the place where they were made (0 in `absolute`)."""
    writes_sink: bool

    @property
    def end_frame(self) -> int:
        return self.first_frame + self.frames


def near_slots(plan: PassPlan, spec: WindowSpec, *, frames: int) -> tuple[int, ...]:
    """The slots that a pass sees in a window of `frames` latent frames: the sink's and the newest, in order.

    All that are in use where there are no more than that. The window is at least sink and block.
    """
    if plan.valid_slots <= frames:
        return tuple(range(plan.valid_slots))
    last = plan.writes[-1]
    newest = last.slot + last.length - 1 - spec.sink_frames
    ring = (newest - back for back in range(frames - spec.sink_frames))
    return (*range(spec.sink_frames), *sorted(spec.sink_frames + slot % spec.ring for slot in ring))


@dataclass(frozen=True, slots=True)
class WindowState:
    """Where a scene stands. `end` frames are finished; the ring's first slot holds frame `ring_start`."""

    spec: WindowSpec
    end: int = 0
    sink_start: int = 0
    ring_start: int | None = None

    @property
    def ring_origin(self) -> int:
        return self.spec.sink_frames if self.ring_start is None else self.ring_start

    def valid_slots(self, end: int) -> int:
        """Slots in use when the frames before `end` are there."""
        if self.ring_start is None:
            return min(end, self.spec.slots)
        return self.spec.sink_frames + min(end - self.ring_start, self.spec.ring)

    def sink_shift(self, end: int) -> int:
        """Positions between where the sink was made and where it stands when the window ends at `end`.

        In `relative` the sink stands directly before the oldest frame of the ring; until the window is full
        that is where it was made.
        """
        if self.spec.positions == "absolute" or self.spec.sink_frames == 0:
            return 0
        oldest = max(self.ring_origin, end - self.spec.ring)
        return oldest - self.spec.sink_frames - self.sink_start

    def plan_block(self) -> PassPlan:
        """The passes that make the next block. Raises WindowError where the positions or slots are used up."""
        end = self.end + self.spec.block_frames
        if self.spec.positions == "absolute":
            _check(end <= MAX_ABSOLUTE_FRAMES, "frames", f"at most {MAX_ABSOLUTE_FRAMES} in absolute positions", end)
        if self.spec.window_frames is None:
            _check(end <= self.spec.slots, "frames", f"at most the cache's capacity {self.spec.slots}", end)
        return self._plan(self.end, self.spec.block_frames, end)

    def plan_clean(self, first_frame: int) -> PassPlan:
        """The clean pass of the block that begins at `first_frame`; the window ends with that block."""
        return self._plan(first_frame, self.spec.block_frames, first_frame + self.spec.block_frames)

    def plan_recache(self, sink: SinkPolicy) -> "RecachePlan":
        """What a recache at this point rebuilds: all frames that the window holds, the sink as `sink` says.

        With `keep` the sink is rebuilt only while the window still begins at frame 0; from then on feeding the
        ring's frames alone stores exactly what feeding the whole window would (longlive-spec 4.2).
        """
        spec = self.spec
        if self.end <= spec.slots:
            state = WindowState(spec, end=self.end)
            return RecachePlan(state, state._plan(0, self.end, self.end))
        if sink == "refresh":
            first = self.end - spec.slots
            state = WindowState(spec, end=self.end, sink_start=first)
            return RecachePlan(state, state._plan(first, spec.slots, self.end))
        state = replace(self, ring_start=None)
        return RecachePlan(state, state._plan(self.end - spec.ring, spec.ring, self.end))

    def plan_flush(self) -> "RecachePlan":
        """What a flush rebuilds: the last block, moved to the front of the ring; the sink stays."""
        spec = self.spec
        first = self.end - spec.block_frames
        if first < spec.sink_frames:
            return self.plan_recache("keep")
        state = replace(self, ring_start=first)
        return RecachePlan(state, state._plan(first, spec.block_frames, self.end))

    def advance(self, blocks: int = 1) -> "WindowState":
        """The state after so many more blocks are finished."""
        return replace(self, end=self.end + blocks * self.spec.block_frames)

    def _plan(self, first: int, frames: int, end: int) -> PassPlan:
        return PassPlan(
            first_frame=first,
            frames=frames,
            writes=self._writes(first, frames),
            valid_slots=self.valid_slots(end),
            sink_shift=self.sink_shift(end),
            writes_sink=self._is_sink(first) and self.spec.sink_frames > 0,
        )

    def _is_sink(self, frame: int) -> bool:
        return self.sink_start <= frame < self.sink_start + self.spec.sink_frames

    def _slot(self, frame: int) -> int:
        if self._is_sink(frame):
            return frame - self.sink_start
        return self.spec.sink_frames + (frame - self.ring_origin) % self.spec.ring

    def _writes(self, first: int, frames: int) -> tuple[Span, ...]:
        """The fewest runs of neighbouring slots that hold the pass's frames in order."""
        spans: list[Span] = []
        for offset in range(frames):
            slot = self._slot(first + offset)
            last = spans[-1] if spans else None
            if last is not None and last.slot + last.length == slot:
                spans[-1] = replace(last, length=last.length + 1)
            else:
                spans.append(Span(offset, slot, 1))
        return tuple(spans)


@dataclass(frozen=True, slots=True)
class RecachePlan:
    """The window's state once the recache is done, and the one pass that does it."""

    state: WindowState
    plan: PassPlan


def _check(holds: bool, field: str, expected: str, found: object) -> None:
    if not holds:
        raise WindowError(field, expected, found=found)
