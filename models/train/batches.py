"""Draw the rows of one training pass from the pool: single blocks, streams, switches with recache.

Knows the pool, captions and the row tables; knows nothing about the transformer. All randomness comes from one
generator. At least half of the rows that carry loss are first blocks or the first blocks after a switch: elsewhere
the past tells nearly everything, and a model trained on that alone learns to ignore the text.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from models.text import PAD_TOKEN, UNKNOWN_TOKEN, WordEncoder
from models.train.losses import NoiseLevels, TrainingRows
from models.train.pool import BLOCK_FRAMES, ClipPool
from models.train.rows import Row, RowTables, single_row, streamed_rows, switched_rows, tabulate
from models.train.world import attributes_of, caption, choose

UNKNOWN_SHARE: Final = 0.02
"""Words replaced by `<unk>`, so that an unknown word does no harm later."""


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """What a pass holds."""

    single: int = 64
    """First blocks on their own."""
    single_frames: int = BLOCK_FRAMES
    """Latent frames of them; fewer are cheaper and teach layout as well."""
    streams: int = 0
    """Streams without a switch."""
    noisy_blocks: int = 2
    """Noisy blocks of a stream, at most; those before them are clean. The more, the less is spent on clean ones."""
    switches: int = 0
    """Streams with a switch, two noisy blocks each."""
    prompt_dropout: float = 0.08
    context_noise: float = 0.3
    """Half of the streams have clean rows with noise up to this level, and are told so."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A pass: what the loss needs and what attention needs (None for single blocks alone)."""

    rows: TrainingRows
    tables: RowTables


def draw(
    config: BatchConfig, pool: ClipPool, *, encoder: WordEncoder, levels: NoiseLevels, generator: torch.Generator
) -> Drawn:
    """The rows of one pass; deterministic in the generator's state and the pool's content."""
    kinds = ["single"] * config.single + ["stream"] * config.streams + ["switch"] * config.switches
    samples: list[tuple[int, tuple[Row, ...]]] = []
    prompts: list[str] = []
    for kind in kinds:
        clip = choose(pool.config.clips, generator)
        if kind == "switch":
            clip = _switching_clip(pool, clip)
        samples.append((clip, _rows(kind, config, pool, clip=clip, generator=generator)))
        prompts += _captions(pool, clip, samples[-1][1], kind, generator)
    tables = tabulate(samples)
    counts = torch.tensor([len(rows) for _, rows in samples])
    sample = torch.repeat_interleave(torch.arange(len(samples)), counts)
    sigma = _levels(tables, sample, len(samples), config, levels, generator)
    frames = config.single_frames if config.streams + config.switches == 0 else BLOCK_FRAMES
    latents, cover = _gather(pool, tables, frames, generator)
    tokens = _tokens(encoder, prompts, config.prompt_dropout, generator)
    distinct, number = tokens.unique(dim=0, return_inverse=True)
    rows = TrainingRows(
        latents=latents,
        cover=cover,
        noise=torch.randn(latents.shape, generator=generator),
        sigma=sigma,
        loss_weight=tables.noisy.float(),
        tokens=distinct,
        prompt=number[2 * sample + tables.new_prompt.long()],
    )
    return Drawn(rows=rows, tables=tables)


def _switching_clip(pool: ClipPool, start: int) -> int:
    """The first clip from `start` on that has a switch."""
    for offset in range(pool.config.clips):
        clip = (start + offset) % pool.config.clips
        if int(pool.switch[clip]) < pool.config.blocks:
            return clip
    raise ValueError("expected a pool with switches for switch samples, found none: raise switch_share")


def _rows(kind: str, config: BatchConfig, pool: ClipPool, *, clip: int, generator: torch.Generator) -> tuple[Row, ...]:
    blocks, switch = pool.config.blocks, int(pool.switch[clip])
    if kind == "single":
        block = choose(blocks, generator)
        return single_row(block - 1 if block == switch else block)
    if kind == "switch":
        after = min(2, blocks - switch)
        gap = choose(switch - 3, generator) if switch > 3 else 0
        shown = [0, *range(1 + gap, blocks)]
        return switched_rows(shown, switch - gap, after=after)
    first, last = (0, switch) if switch >= 4 else (switch + 1, blocks)
    if last - first < 3:
        first, last = 0, blocks if switch >= blocks else max(switch, 1)
    length = last - first
    if length < 2:
        return single_row(first)
    gap = choose(max(length - 4, 1), generator)
    shown = [first, *range(first + 1 + gap, last)]
    top = min(len(shown) - 1, 4)
    return streamed_rows(shown, range(max(1, top + 1 - config.noisy_blocks), top + 1))


def _captions(
    pool: ClipPool, clip: int, rows: tuple[Row, ...], kind: str, generator: torch.Generator
) -> tuple[str, str]:
    """The prompts before and after the switch, for the part of the clip that the rows show."""
    if kind == "switch":
        sets = (0, 1)
    else:
        shown = int(min(row.block for row in rows) >= int(pool.switch[clip]))
        sets = (shown, shown)
    first = caption(attributes_of(pool.attributes[clip, sets[0]]), generator)
    if sets[0] == sets[1]:
        return first, first
    return first, caption(attributes_of(pool.attributes[clip, sets[1]]), generator)


def _levels(
    tables: RowTables,
    sample: Tensor,
    samples: int,
    config: BatchConfig,
    levels: NoiseLevels,
    generator: torch.Generator,
) -> Tensor:
    """Noise levels of all rows: the training distribution for noisy ones, none or a little for clean ones."""
    noisy = levels.sample(len(tables.noisy), generator)
    context = config.context_noise * torch.rand(samples, generator=generator)
    context = torch.where(torch.rand(samples, generator=generator) < 0.5, context, 0.0)
    return torch.where(tables.noisy, noisy, context[sample])


def _gather(pool: ClipPool, tables: RowTables, frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents and cover of all rows; where less than a block is wanted, from a random place in it."""
    offset = torch.randint(BLOCK_FRAMES - frames + 1, (len(tables.clip),), generator=generator)
    places = (tables.block * BLOCK_FRAMES + offset)[:, None] + torch.arange(frames)
    clips = tables.clip[:, None].expand_as(places)
    return pool.latents[clips, places].float(), pool.cover[clips, places].float()


def _tokens(encoder: WordEncoder, prompts: list[str], dropout: float, generator: torch.Generator) -> Tensor:
    """Tokens [P,L]; some prompts are dropped whole, some words made unknown."""
    tokens = torch.stack([encoder.tokenize(prompt) for prompt in prompts])
    chance = torch.rand(len(prompts) // 2, tokens.shape[1], generator=generator).repeat_interleave(2, dim=0)
    unknown = (chance < UNKNOWN_SHARE) & (tokens != PAD_TOKEN)
    tokens = torch.where(unknown, UNKNOWN_TOKEN, tokens)
    dropped = torch.rand(len(prompts) // 2, generator=generator) < dropout
    return torch.where(dropped.repeat_interleave(2)[:, None], PAD_TOKEN, tokens)
