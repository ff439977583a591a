"""Which passes rebuild a cache exactly from finished latents: clean-pass replay, planned in integers.

The keys and values of the past depend on the sink and, layer by layer, on the blocks that each block saw: after
`layers x past_blocks` clean passes nothing older is felt. So the plan is: make the sink as its provenance says (the
first block's clean pass, or the rebuild that last wrote it), redo the last rebuild if it is still felt, then one
clean pass a block. Passes that only lead up to exact ones may read slots not rebuilt yet; their effect is gone by
the time it matters. Knows no tensors.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cache.recache import Mode, rebuild
from cache.window import PassPlan, SinkPolicy, WindowSpec, WindowState


@dataclass(frozen=True, slots=True)
class Change:
    """What a prompt change did to the past just before `block` was made; `event` is its owner's name for it."""

    block: int
    mode: Mode
    sink: SinkPolicy
    event: int


@dataclass(frozen=True, slots=True)
class ReplayPass:
    """One pass before or at the end of `block`. The plan counts frames within the scene.

    A rebuild ran under the text that its change (`event`) brought; a block's clean pass (None) under the block's.
    """

    block: int
    plan: PassPlan
    event: int | None = None


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """How to stand at the end of block - 1: the window there, the scene's first block and the passes, in order."""

    window: WindowState
    scene_start: int
    passes: tuple[ReplayPass, ...]

    def first_block(self) -> int:
        """The oldest block whose latents the passes read."""
        block_frames = self.window.spec.block_frames
        firsts = [self.scene_start + item.plan.first_frame // block_frames for item in self.passes]
        return min(firsts, default=self.scene_start)


@dataclass(slots=True)
class _Scene:
    """The scene so far: its window, what last wrote the sink, and the last rebuild."""

    start: int
    window: WindowState
    sink: ReplayPass | None = None
    rebuilt: ReplayPass | None = None

    def apply(self, change: Change) -> None:
        self.window, plan = rebuild(self.window, change.mode, sink=change.sink)
        if change.mode == "cut":
            self.start, self.sink, self.rebuilt = change.block, None, None
        elif plan is not None:
            self.rebuilt = ReplayPass(change.block, plan, change.event)
            if plan.writes_sink:
                self.sink = self.rebuilt


def plan_replay(spec: WindowSpec, *, layers: int, changes: Iterable[Change], block: int) -> ReplayPlan:
    """The passes that bring a cache to the end of block `block - 1`.

    `changes` are those that took effect before blocks 0..block-1, in order.
    """
    scene = _Scene(0, WindowState(spec))
    made = 0
    for change in changes:
        assert made <= change.block < block, (made, change, block)
        scene.window = scene.window.advance(change.block - made)
        made = change.block
        scene.apply(change)
    rebuilt_window = scene.window
    scene.window = scene.window.advance(block - made)
    return ReplayPlan(scene.window, scene.start, _passes(scene, rebuilt_window, layers=layers, block=block))


def _passes(scene: _Scene, window: WindowState, *, layers: int, block: int) -> tuple[ReplayPass, ...]:
    spec = window.spec
    since = scene.rebuilt.block if scene.rebuilt is not None else scene.start
    first = since
    if spec.window_frames is not None:
        first = max(since, block - spec.past_blocks * layers)
    passes: list[ReplayPass] = []
    if spec.sink_frames > 0 and block > scene.start:
        sink = scene.sink or ReplayPass(scene.start, WindowState(spec).plan_clean(0))
        passes.append(sink)
    if scene.rebuilt is not None and first == since and scene.rebuilt not in passes:
        passes.append(scene.rebuilt)
    for number in range(first, block):
        clean = ReplayPass(number, window.plan_clean((number - scene.start) * spec.block_frames))
        if clean not in passes:
            passes.append(clean)
    return tuple(passes)
