"""What happens to the past when the prompt changes: which frames are rebuilt, and the pass that rebuilds them.

One forward over finished latent frames, at the clean timestep, under the new prompt; within it every frame attends
to every frame the cache then holds, as the published code does (longlive-spec 4). Knows no model: the forward is an
argument.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from cache.kv import KVCache, TurnKeys
from cache.window import PassPlan, SinkPolicy, WindowState

Mode = Literal["recache", "flush", "cut", "keep"]
MODES: tuple[Mode, ...] = ("recache", "flush", "cut", "keep")
SINK_POLICIES: tuple[SinkPolicy, ...] = ("keep", "refresh")

CleanForward = Callable[[Tensor, PassPlan], None]
"""Runs the transformer over latents [B, F, C, H, W] at the clean timestep, writing into the cache as planned."""
FramesFrom = Callable[[int, int], Tensor]
"""Finished latents [B, F, C, H, W] of the scene's frames first..first+count-1."""


def rebuild(state: WindowState, mode: Mode, *, sink: SinkPolicy) -> tuple[WindowState, PassPlan | None]:
    """The window after a prompt change, and the pass to run for it (None where there is nothing to rebuild)."""
    if mode == "cut":
        return WindowState(state.spec), None
    if mode == "keep" or state.end == 0:
        return state, None
    planned = state.plan_recache(sink) if mode == "recache" else state.plan_flush()
    return planned.state, planned.plan


def run_pass(cache: KVCache, plan: PassPlan, *, frames: FramesFrom, forward: CleanForward, turn: TurnKeys) -> None:
    """Write the keys and values of finished frames: a recache, a flush, or a block's clean pass."""
    cache.begin(plan, turn)
    forward(frames(plan.first_frame, plan.frames), plan)
    cache.commit(plan)
