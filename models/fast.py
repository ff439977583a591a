"""What was chosen, put in place: passes by the hot path, the attention kernel, and everything compiled before it is
needed.

Used where an engine is put together. Invariant: once `warm_shapes` is done, no pass of any plan is compiled any more.
Knows how an engine is used; decides nothing about what is chosen (models/speed.py).
"""

import logging
from pathlib import Path
from typing import Final

import torch

from cache.kinds import CacheKind
from cache.recache import Mode
from cache.window import SinkPolicy
from models.attention import Kernel
from models.attention_choice import AttentionShape, choose_attention
from models.compiling import Compiler, load_compiled, save_compiled
from models.generator import Generator
from models.graphs import GraphedPath, record_graph
from models.heads import HeadWindows, ShortHeads
from models.hot import Forms, HotPath, block_pass
from models.journal import WeightedPrompt
from models.passes import CachedPasses, Held
from models.presets import Preset
from models.speed import Chosen
from models.stream import Stream
from models.transformer import Transformer

logger = logging.getLogger(__name__)

_CHANGES: Final[tuple[tuple[Mode, SinkPolicy], ...]] = (
    ("recache", "keep"),
    ("recache", "refresh"),
    ("flush", "keep"),
    ("cut", "keep"),
)
"""A cut comes last: from there the window fills again, with a recache after each block."""
WARMING: Final = ("a calm sea at noon", "a calm sea at night")


def compiler_of(chosen: Chosen) -> Compiler | None:
    return Compiler(chosen.backend) if chosen.compile else None


def fast_passes(
    transformer: Transformer,
    preset: Preset,
    *,
    kernel: Kernel,
    chosen: Chosen,
    kind: CacheKind = "full",
    short: ShortHeads | None = None,
) -> CachedPasses:
    """Passes of a transformer whose weights are in place."""
    video = preset.video
    hot: HotPath | GraphedPath | None = None
    if chosen.hot:
        compiler = compiler_of(chosen)
        block = block_pass if compiler is None else compiler.function(block_pass)
        path = HotPath(transformer, Forms(chosen.ops, kernel), block=block)
        hot = GraphedPath(path, record_graph) if chosen.graphs else path
    return CachedPasses(
        transformer,
        preset.window,
        height=video.latent_height,
        width=video.latent_width,
        kernel=kernel,
        held=Held(kind, None if short is None else _windows(transformer, short)),
        hot=hot,
    )


def _windows(transformer: Transformer, short: ShortHeads) -> HeadWindows:
    return HeadWindows(short, heads=transformer.config.num_heads, device=transformer.device)


def attention_shape(preset: Preset) -> AttentionShape:
    """A block's queries against a full window."""
    video, config = preset.video, preset.transformer
    per_frame = config.tokens_per_frame(video.latent_height, video.latent_width)
    return AttentionShape(
        queries=preset.window.block_frames * per_frame,
        keys=preset.window.slots * per_frame,
        heads=config.num_heads,
        head_dim=config.head_dim,
        dtype=preset.dtype,
    )


def usual_kernel(preset: Preset, asked: Kernel, *, device: torch.device, folder: Path | None) -> Kernel:
    """The kernel that is asked for; for `auto` on a GPU the quickest, where the choice can be kept."""
    if asked != "auto" or device.type != "cuda" or folder is None:
        return asked
    return choose_attention(folder, attention_shape(preset), device=device).kernel


def warm_shapes(generator: Generator, *, folder: Path | None = None) -> None:
    """Make every kind of pass once: all fillings of the window, and what prompt changes do at each of them.

    What was compiled before is taken from `folder`, and what is compiled now is left there.
    """
    fingerprint = generator.facts().fingerprint
    known = folder is not None and load_compiled(folder, fingerprint)
    stream = generator.start([WeightedPrompt(WARMING[0])], seed=0)
    spec = generator.parts.spec
    fillings = -(-spec.slots // spec.block_frames) + 1
    _make(generator, stream, fillings)
    for mode, sink in _CHANGES:
        generator.set_prompt(stream, _next_prompt(stream), mode=mode, sink=sink)
        _make(generator, stream, fillings if mode != "cut" else 1)
    for _ in range(fillings):
        generator.set_prompt(stream, _next_prompt(stream))
        _make(generator, stream, 1)
    generator.close(stream)
    if folder is not None and not known:
        kept = save_compiled(folder, fingerprint)
        logger.info("%d bytes of compiled code kept for later starts", kept)


def _make(generator: Generator, stream: Stream, blocks: int) -> None:
    for _ in range(blocks):
        generator.step(stream)
        generator.commit(stream)


def _next_prompt(stream: Stream) -> list[WeightedPrompt]:
    return [WeightedPrompt(WARMING[stream.next_block % 2])]
