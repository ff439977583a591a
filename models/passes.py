"""One pass of the transformer through a stream's cache: where model, window plan and memory meet.

The generator and the conformance run both go through here, so what is checked against the published numbers is what
is served. Knows no prompts, no schedule, no stream.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cache.kinds import CacheKind, make_cache
from cache.kv import CacheShape, KVCache
from cache.recache import FramesFrom, run_pass
from cache.text_kv import TextKeysValues
from cache.window import PassPlan, WindowSpec
from models.attention import Kernel
from models.graphs import GraphedPath
from models.heads import HeadWindows, attend_apart
from models.hot import BakedTime, HotPath
from models.kernels.forms import Near
from models.rope import RotationTable, rotate, time_rotation
from models.transformer import PassContext, TimeEmbedding, Transformer


@dataclass(frozen=True, slots=True)
class CachedAttention:
    """Self-attention of one pass: its keys and values go to their slots, then all slots in use are attended to."""

    cache: KVCache
    plan: PassPlan
    kernel: Kernel
    near: tuple[Near, ...] | None = None
    """Of each layer, where some heads see less."""

    def attend(self, layer: int, q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor) -> Tensor:
        self.cache.write(layer, k_BNHD, v_BNHD, plan=self.plan)
        keys, values = self.cache.read(layer, plan=self.plan)
        near = None if self.near is None else self.near[layer]
        return attend_apart(q_BNHD, keys, values, near=near, kernel=self.kernel)


@dataclass(frozen=True, slots=True)
class Held:
    """How the past is held, and which heads see less of it."""

    kind: CacheKind = "full"
    heads: HeadWindows | None = None


class CachedPasses:
    """Runs passes of one transformer at one picture size; the streams' caches are arguments."""

    def __init__(
        self,
        transformer: Transformer,
        spec: WindowSpec,
        *,
        height: int,
        width: int,
        kernel: Kernel = "auto",
        held: Held | None = None,
        hot: HotPath | GraphedPath | None = None,
    ) -> None:
        self.transformer = transformer
        self.spec = spec
        self.kernel: Kernel = kernel
        held = held or Held()
        self.kind: CacheKind = held.kind
        self._heads = held.heads
        self._graphed = hot if isinstance(hot, GraphedPath) else None
        self._hot = hot.path if isinstance(hot, GraphedPath) else hot
        self._height, self._width = height, width
        rows, columns = transformer.config.token_grid(height, width)
        self._rotations = RotationTable(
            transformer.config.head_dim, rows=rows, columns=columns, device=transformer.device
        )

    def cache_shape(self, batch: int = 1) -> CacheShape:
        config = self.transformer.config
        return CacheShape(
            layers=config.num_layers,
            heads=config.num_heads,
            head_dim=config.head_dim,
            tokens_per_frame=config.tokens_per_frame(self._height, self._width),
            batch=batch,
        )

    def new_cache(self, batch: int = 1) -> KVCache:
        model = self.transformer
        shape = self.cache_shape(batch)
        return make_cache(self.kind, self.spec, shape=shape, dtype=model.dtype, device=model.device)

    def prepare(self, cache: KVCache, plan: PassPlan, *, text: TextKeysValues) -> PassContext:
        """What all passes over the plan's frames share: positions, text, and the sink put where they expect it."""
        cache.begin(plan, self.turn)
        return self._context(cache, plan, text)

    def _context(self, cache: KVCache, plan: PassPlan, text: TextKeysValues) -> PassContext:
        rope = self._rotations.at(range(plan.first_frame, plan.end_frame))
        near = None if self._heads is None else self._heads.of(cache, plan)
        fused = None if self._hot is None else self._hot.inputs(cache, plan, rope=rope, near=near)
        return PassContext(rope, text, CachedAttention(cache, plan, self.kernel, near), self.kernel, fused)

    def run(self, latents_BFCHW: Tensor, *, time: TimeEmbedding, context: PassContext) -> Tensor:
        """One pass of what `prepare` gave: the network's output [B, F, out_channels, H, W]."""
        if self._hot is None:
            out: Tensor = self.transformer(latents_BFCHW, time=time, context=context)
            return out
        assert isinstance(time, BakedTime), "embedded by these passes"
        if self._graphed is not None and self._steady(context):
            return self._graphed(latents_BFCHW, time=time, context=context)
        return self._hot(latents_BFCHW, time=time, context=context)

    def _steady(self, context: PassContext) -> bool:
        """Whether this is a block's pass over a full window: the shapes that all blocks have from then on."""
        plan = context.attend.plan if isinstance(context.attend, CachedAttention) else None
        return plan is not None and (plan.frames, plan.valid_slots) == (self.spec.block_frames, self.spec.slots)

    def rebuild(
        self, cache: KVCache, plan: PassPlan, *, frames: FramesFrom, text: TextKeysValues, time: TimeEmbedding
    ) -> None:
        """Write the keys and values of finished frames under `text`: a clean pass, a recache or a flush."""

        def forward(latents_BFCHW: Tensor, plan: PassPlan) -> None:
            # `run_pass` has put the sink in its place.
            self.run(latents_BFCHW, time=time, context=self._context(cache, plan, text))

        run_pass(cache, plan, frames=frames, forward=forward, turn=self.turn)

    def embed_timestep(self, timestep: float) -> TimeEmbedding:
        """A timestep that all frames of a pass share."""
        return self.embed_timesteps(torch.full((1, 1), timestep, dtype=torch.float32, device=self.transformer.device))

    def embed_timesteps(self, timesteps_BF: Tensor) -> TimeEmbedding:
        """One for each frame of a pass, or one for all."""
        time = self.transformer.embed_time(timesteps_BF)
        return time if self._hot is None else self._hot.bake(time)

    def turn(self, keys: Tensor, shift: int) -> Tensor:
        """Move keys by a number of temporal positions."""
        rotation = time_rotation(self.transformer.config.head_dim, shift).to(keys.device)
        return rotate(keys, rotation)
