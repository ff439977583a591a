"""Pairs of what the transformer gives and what it should have given: clips, and latents that stay near them.

A stream is rolled out through the cache from its own past, but every block begins not at pure noise but at a clip's
latents with noise of a lower level. So the latents have the errors that sampling makes, and still mean the clip.
Knows the renderer and rollouts; knows nothing of what is trained on the pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from cache.text_kv import TextKeysValues
from models.sampler import Schedule, add_noise
from models.train.bundle import Bundle
from models.train.codec import encode_clips
from models.train.pool import BLOCK_FRAMES
from models.train.render import FRAMES_PER_BLOCK, Clips, Renderer, Script
from models.train.rollout import Rollout, RolloutModel
from models.train.world import attributes_of, caption, change_attributes, choose, sample_attributes

LEVELS: Final = 255


@dataclass(frozen=True, slots=True)
class PairConfig:
    """How pairs are made."""

    clips: int = 96
    together: int = 8
    """Streams of one rollout."""
    blocks: int = 3
    switch_share: float = 0.4
    starts: tuple[float, ...] = (0.12, 0.1, 0.38, 0.4)
    """Chances to begin at no noise at all (the codec's own latents), and at the second, third ... sampling step."""


class PairPool:
    """Clips in bytes, their latents from rollouts, and the object's mean place."""

    def __init__(self, config: PairConfig, renderer: Renderer, *, bundle: Bundle, schedule: Schedule) -> None:
        assert len(config.starts) == schedule.steps, "one chance for no noise, one for each step but the first"
        self.config = config
        self.renderer = renderer
        self.bundle = bundle
        self.schedule = schedule
        self.next = 0
        side, frames = renderer.axis.numel(), config.blocks * FRAMES_PER_BLOCK
        codec = bundle.codec.config
        cells = side // codec.side
        self.frames = torch.zeros(config.clips, frames, 3, side, side, dtype=torch.uint8)
        self.masks = torch.zeros(config.clips, frames, side, side, dtype=torch.uint8)
        latents = (config.clips, config.blocks * BLOCK_FRAMES, codec.channels, cells, cells)
        self.latents = torch.zeros(latents, dtype=torch.float16)
        self.centre = torch.zeros(config.clips, 2)
        """Across and down, as shares of the picture."""

    def fill(self, generator: torch.Generator) -> None:
        """Make every pair anew."""
        for _ in range(-(-self.config.clips // self.config.together)):
            self.refresh(generator)

    @torch.no_grad()
    def refresh(self, generator: torch.Generator) -> None:
        """Replace the oldest pairs by those of one rollout."""
        clips, latents = self._pairs(generator)
        count = latents.shape[0]
        places = (self.next + torch.arange(count)) % self.config.clips
        self.frames[places] = (clips.frames.clamp(0, 1) * LEVELS).round().to(torch.uint8).cpu()
        self.masks[places] = (clips.masks * LEVELS).round().to(torch.uint8).cpu()
        self.latents[places] = latents.half().cpu()
        self.centre[places] = torch.stack([clips.track.x.mean(dim=1), clips.track.y.mean(dim=1)], dim=1).cpu()
        self.next = (self.next + count) % self.config.clips

    def _pairs(self, generator: torch.Generator) -> tuple[Clips, Tensor]:
        config = self.config
        count, blocks = config.together, config.blocks
        before = sample_attributes(count, generator)
        after = change_attributes(before, generator)
        switch = blocks
        if blocks > 1 and float(torch.rand((), generator=generator)) < config.switch_share:
            switch = 1 + choose(blocks - 1, generator)
        starts = torch.tensor([[0, switch * FRAMES_PER_BLOCK]]).expand(count, -1)
        script = Script(attributes=torch.stack([before, after], dim=1), starts=starts)
        clips = self.renderer.render(script, blocks * FRAMES_PER_BLOCK, generator=generator)
        latents = encode_clips(self.bundle.codec, clips.frames)
        first = int(torch.multinomial(torch.tensor(config.starts), 1, generator=generator))
        if first == 0:
            return clips, latents
        texts = {0: self._text(before, generator), switch: self._text(after, generator)}
        return clips, self._roll(latents, Schedule(self.schedule.sigmas[first:], 0.0), texts, generator)

    def _text(self, attributes_B5: Tensor, generator: torch.Generator) -> TextKeysValues:
        encoder, transformer = self.bundle.text_encoder, self.bundle.transformer
        captions = [caption(attributes_of(row), generator) for row in attributes_B5]
        tokens = torch.stack([encoder.tokenize(text) for text in captions]).to(transformer.device)
        return transformer.embed_text(encoder(tokens))

    def _roll(
        self,
        latents_BFCHW: Tensor,
        schedule: Schedule,
        texts: Mapping[int, TextKeysValues],
        generator: torch.Generator,
    ) -> Tensor:
        """The latents of every block, denoised from the clip's own with noise."""
        size = (latents_BFCHW.shape[-2], latents_BFCHW.shape[-1])
        rollout = Rollout(RolloutModel(self.bundle.transformer, size), text=texts[0])

        def noise() -> Tensor:
            shape = (latents_BFCHW.shape[0], BLOCK_FRAMES, *latents_BFCHW.shape[2:])
            return torch.randn(shape, generator=generator).to(latents_BFCHW)

        made = []
        for block, truth in enumerate(latents_BFCHW.split(BLOCK_FRAMES, dim=1)):
            if block > 0 and block in texts:
                rollout.switch(texts[block])
            start = add_noise(truth, noise(), schedule.sigmas[0])
            made.append(rollout.finish(rollout.block(schedule, noise, start=start)))
        return torch.cat(made, dim=1)

    def state_dict(self) -> dict[str, Any]:
        """Everything the pool holds."""
        names = ("frames", "masks", "latents", "centre")
        return {"next": self.next, **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.next = int(state["next"])
        for name in ("frames", "masks", "latents", "centre"):
            getattr(self, name).copy_(state[name])
