"""Which heads look back least: a fixed take of the loaded model by the plain path, looked at pass by pass.

Used once, where an engine is put together. The take is the same at every start, so the same machine chooses the same
heads. Knows how an engine is used; what is measured is models/heads.py's.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cache.kv import KVCache
from cache.text_kv import TextKeysValues
from cache.window import PassPlan
from models.generator import Generator
from models.heads import LookingAttention, Looks, ShortHeads
from models.journal import WeightedPrompt
from models.parts import Parts
from models.passes import CachedPasses
from models.presets import Preset
from models.transformer import PassContext, Transformer

PROMPT: Final = "a red ball bounces over a grassy meadow by day"
BLOCKS: Final = 3
"""Over a full window."""


class LookingPasses(CachedPasses):
    """Passes that are looked at."""

    def __init__(self, transformer: Transformer, preset: Preset, *, looks: Looks) -> None:
        video = preset.video
        super().__init__(transformer, preset.window, height=video.latent_height, width=video.latent_width)
        self._looks = looks

    def _context(self, cache: KVCache, plan: PassPlan, text: TextKeysValues) -> PassContext:
        context = super()._context(cache, plan, text)
        return replace(context, attend=LookingAttention(cache, plan, self.kernel, self._looks))


def look_back(
    transformer: Transformer, preset: Preset, *, frames: int, count: int, assembled: Callable[[CachedPasses], Parts]
) -> ShortHeads:
    """The `count` heads of each layer that look least at what a window of `frames` latent frames does not hold.

    Args:
        assembled: an engine's parts around such passes.
    """
    config = transformer.config
    looks = Looks(preset.window, frames=frames, layers=config.num_layers, heads=config.num_heads)
    generator = Generator(assembled(LookingPasses(transformer, preset, looks=looks)))
    stream = generator.start([WeightedPrompt(PROMPT)], seed=0)
    for _ in range(-(-preset.window.slots // preset.window.block_frames) + BLOCKS):
        generator.step(stream)
    generator.close(stream)
    return looks.least(count)
