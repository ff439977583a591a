"""Rendered and encoded clips kept for several uses, a few of them replaced at every step.

Knows the renderer and the codec; knows nothing about the transformer. Every clip is whole blocks long and changes
its attributes at most once, at a block's beginning. What the pool holds is a function of its generator's state and
of its own content, so both saved together resume exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from models.train.codec import encode_clips
from models.train.render import FRAMES_PER_BLOCK, Renderer, Script, random_script
from models.train.world import MOTION, MOTIONS
from models.vae import LinearCodec

BLOCK_FRAMES: Final = 3
RENDER_TOGETHER: Final = 32


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """How many clips are held, how long they are, how many are new at every step."""

    clips: int = 1024
    blocks: int = 1
    switch_share: float = 0.0
    fresh: int = 8
    rests_kept: float = 1.0
    """Share of the resting objects that stay so; the others move. Moving ones are what is hard."""


class ClipPool:
    """Latents [N,L,C,H,W] in half precision, the object's cover [N,L,H,W], two sets of attributes and the switch."""

    def __init__(self, config: PoolConfig, renderer: Renderer, *, codec: LinearCodec) -> None:
        self.config = config
        self.renderer = renderer
        self.codec = codec
        self.next = 0
        frames = config.blocks * BLOCK_FRAMES
        side = renderer.axis.numel() // codec.config.side
        self.latents = torch.zeros(config.clips, frames, codec.config.channels, side, side, dtype=torch.float16)
        self.cover = torch.zeros(config.clips, frames, side, side, dtype=torch.float16)
        self.attributes = torch.zeros(config.clips, 2, 5, dtype=torch.int64)
        self.switch = torch.zeros(config.clips, dtype=torch.int64)

    def fill(self, generator: torch.Generator) -> None:
        """Render every clip anew."""
        for first in range(0, self.config.clips, RENDER_TOGETHER):
            self.refresh(min(RENDER_TOGETHER, self.config.clips - first), generator)

    @torch.no_grad()
    def refresh(self, count: int, generator: torch.Generator) -> None:
        """Replace the oldest clips by new ones."""
        if count == 0:
            return
        frames = self.config.blocks * FRAMES_PER_BLOCK
        script = random_script(count, frames, switch_share=self.config.switch_share, generator=generator)
        self._set_moving(script, generator)
        latents, cover = self._encode(script, frames, generator)
        places = (self.next + torch.arange(count)) % self.config.clips
        self.latents[places], self.cover[places] = latents, cover
        self.attributes[places] = script.attributes
        self.switch[places] = script.starts[:, 1] // FRAMES_PER_BLOCK
        self.next = (self.next + count) % self.config.clips

    def _set_moving(self, script: Script, generator: torch.Generator) -> None:
        if self.config.rests_kept >= 1:
            return
        motion = script.attributes[..., MOTION]
        moved = (motion == MOTIONS.index("rests")) & (
            torch.rand(motion.shape, generator=generator) >= self.config.rests_kept
        )
        others = 1 + torch.randint(len(MOTIONS) - 1, motion.shape, generator=generator)
        script.attributes[..., MOTION] = torch.where(moved, others, motion)

    def _encode(self, script: Script, frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Half-precision latents, and how much of every latent pixel the object covers in any of its frames."""
        clips = self.renderer.render(script, frames, generator=generator)
        latents = encode_clips(self.codec, clips.frames.to(self.codec.mean.device)).half()
        cover = avg_pool2d(clips.masks.flatten(0, 1)[:, None], self.codec.config.side)
        cover = cover.unflatten(0, (clips.masks.shape[0], -1, self.codec.config.frames)).amax(dim=2)[:, :, 0]
        return latents.cpu(), cover.half().cpu()

    def state_dict(self) -> dict[str, Any]:
        """Everything the pool holds."""
        return {
            "next": self.next,
            "latents": self.latents,
            "cover": self.cover,
            "attributes": self.attributes,
            "switch": self.switch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.next = int(state["next"])
        for name in ("latents", "cover", "attributes", "switch"):
            getattr(self, name).copy_(state[name])
