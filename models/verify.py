"""Whether an engine computes on this machine what it should, with the kernels, dtype and quantisation it serves with.

Each check computes the same thing in two ways and tells how far they are apart: attention against its definition, a
pass through the cache against one without, a recache, streamed decoding against the whole clip, a stream restored by
replay and by copy against the live one. The published code's tensors are compared in float32. Knows no files of weights
and no service.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from models.attention import attention, reference_attention
from models.config import TRAINING_TIMESTEPS
from models.generator import Generator
from models.journal import WeightedPrompt
from models.noise import NoiseKey, draw_noise
from models.parts import Parts
from models.reference import list_cases, read_case, run_case
from models.reference_checkpoint import has_checkpoint, run_checkpoint
from models.stream import Block, Snapshot, Stream
from models.transformer import PassContext
from models.vae import RGB24, to_rgb24

SEED: Final = 11
REFERENCE_LIMIT: Final = 1e-3
LIMITS: Final = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""Largest difference of two ways that round differently, as a share of the largest number."""
QUANTISED_LIMIT: Final = 5e-2
"""The same where inputs are quantised as they come: what differs in the last bit may round to another level."""


_SHARE: Final = "largest difference, as a share of the largest number"
_DIFFERING: Final = "blocks that differ in a bit"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. `deviation` is in the unit that `note` tells."""

    name: str
    deviation: float
    limit: float
    note: str

    @property
    def passed(self) -> bool:
        return self.deviation <= self.limit  # NaN is not


@torch.inference_mode()
def verify(generator: Generator, *, blocks: int = 8, reference: Path | None = None) -> Iterator[Finding]:
    """All checks, one after the other. `reference`: a folder of the published code's tensors."""
    parts = generator.parts
    if reference is not None:
        yield from _reference(reference, parts.device)
    yield _kernel(parts)
    yield _cached(generator)
    yield _recached(generator)
    take = _make(generator, blocks)
    yield _repeated(generator, take)
    yield _decoded(parts, take)
    yield from _restored(generator, take)


def _reference(folder: Path, device: torch.device) -> Iterator[Finding]:
    for name in list_cases(folder):
        deviations = run_case(read_case(folder, name), device=device)
        largest = max(deviation.largest for deviation in deviations)
        yield Finding(f"reference {name}", largest, REFERENCE_LIMIT, "published code, float32, largest difference")
    if has_checkpoint(folder):
        largest = max(deviation.largest for deviation in run_checkpoint(folder, device=device))
        yield Finding("reference checkpoint", largest, REFERENCE_LIMIT, "published code, float32, largest difference")


def _kernel(parts: Parts) -> Finding:
    """Attention of one frame's queries to the whole window, at the preset's sizes."""
    shape = parts.passes.cache_shape()
    sizes = [(1, tokens * shape.tokens_per_frame, shape.heads, shape.head_dim) for tokens in (1, parts.spec.slots)]
    drawn = torch.Generator().manual_seed(SEED)
    q, k, v = (torch.randn(sizes[kind], generator=drawn).to(parts.device, parts.dtype) for kind in (0, 1, 1))
    ours, exact = attention(q, k, v, kernel=parts.passes.kernel), reference_attention(q, k, v)
    return Finding(f"kernel {parts.passes.kernel}", _apart(ours, exact), LIMITS[parts.dtype], _SHARE)


@dataclass(slots=True)
class _Remembering:
    """Attention without a cache: what was seen so far is kept as it came, and laid end to end."""

    parts: Parts
    past: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    made: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def attend(self, layer: int, q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor) -> Tensor:
        self.made.append((k_BNHD, v_BNHD))
        if self.past:
            k_BNHD = torch.cat([self.past[layer][0], k_BNHD], dim=1)
            v_BNHD = torch.cat([self.past[layer][1], v_BNHD], dim=1)
        return attention(q_BNHD, k_BNHD, v_BNHD, kernel=self.parts.passes.kernel)

    def keep(self) -> None:
        """What the last pass made belongs to the past from now on."""
        if self.past:
            pairs = zip(self.past, self.made, strict=True)
            self.past = [(torch.cat([k, more_k], 1), torch.cat([v, more_v], 1)) for (k, v), (more_k, more_v) in pairs]
        else:
            self.past = self.made
        self.made = []


def _filling(generator: Generator) -> Stream:
    """A stream whose window is not full yet, with room for one more block."""
    stream = generator.start(_prompt(generator, 0), seed=SEED)
    spec = generator.parts.spec
    for _ in range(max(1, min(3, spec.slots // spec.block_frames - 1))):
        generator.step(stream)
    generator.commit(stream)
    return stream


def _context(parts: Parts, stream: Stream, attend: _Remembering, frames: range) -> PassContext:
    video = parts.preset.video
    rope = parts.passes.transformer.rope(frames, height=video.latent_height, width=video.latent_width)
    return PassContext(rope, stream.text, attend, parts.passes.kernel)


def _clean_pass(parts: Parts, stream: Stream, attend: _Remembering, *, latents: Tensor, frames: range) -> None:
    given = parts.network_input(latents.to(parts.device), parts.schedule.context_timestep / TRAINING_TIMESTEPS)
    context = _context(parts, stream, attend, frames)
    parts.passes.transformer(given, time=parts.clean_time, context=context)


def _cached(generator: Generator) -> Finding:
    """The first denoising pass of a block, by the cache and by what earlier clean passes gave."""
    parts, stream = generator.parts, _filling(generator)
    step, end = parts.spec.block_frames, stream.window.end
    key = NoiseKey(seed=SEED, take=0, block=stream.next_block, attempt=0, step=0)
    noise = draw_noise(key, (1, *parts.block_shape)).to(parts.device, parts.dtype)
    noisy = parts.network_input(noise, parts.schedule.sigmas[0])
    plan = stream.window.plan_block()
    context = parts.passes.prepare(stream.cache, plan, text=stream.text)
    ours = parts.passes.run(noisy, time=parts.times[0], context=context)
    plain = _Remembering(parts)
    for first in range(0, end, step):
        latents = stream.scene_frames(first, step)
        _clean_pass(parts, stream, plain, latents=latents, frames=range(first, first + step))
        plain.keep()
    context = _context(parts, stream, plain, range(end, end + step))
    theirs = parts.passes.transformer(noisy, time=parts.times[0], context=context)
    generator.close(stream)
    return Finding("cached pass", _apart(ours, theirs), _limit(parts), _SHARE)


def _recached(generator: Generator) -> Finding:
    """Keys and values after a prompt change, by the recache and by one pass over the same frames without a cache."""
    parts, stream = generator.parts, _filling(generator)
    frames, latents = range(stream.window.end), torch.cat(tuple(stream.history))[None]
    generator.set_prompt(stream, _prompt(generator, 1), mode="recache")
    generator.step(stream)
    plain = _Remembering(parts)
    _clean_pass(parts, stream, plain, latents=latents, frames=frames)
    tokens = len(frames) * parts.passes.cache_shape().tokens_per_frame
    apart = 0.0
    for layer, (keys, values) in enumerate(plain.made):
        for held, expected in zip(stream.cache.first(layer, tokens=tokens), (keys, values), strict=True):
            apart = max(apart, _apart(held, expected))
    generator.close(stream)
    return Finding("recache", apart, _limit(parts), _SHARE)


@dataclass(frozen=True, slots=True)
class _Take:
    """A stream with a prompt change in it, and the copy that was made on the way."""

    stream: Stream
    blocks: list[Block]
    copy: Snapshot

    @property
    def latents(self) -> list[Tensor]:
        return [block.kept.cpu() for block in self.blocks]


def _make(generator: Generator, count: int) -> _Take:
    stream = generator.start(_prompt(generator, 0), seed=SEED)
    blocks: list[Block] = []
    copy = None
    for number in range(count):
        if number == count // 2:
            generator.set_prompt(stream, _prompt(generator, 1), mode="recache")
        if number == count - 2:
            copy = generator.save(stream)
        block = generator.step(stream)
        assert block is not None, "nothing interrupts"
        blocks.append(block)
    assert copy is not None, "there are two blocks or more"
    return _Take(stream, blocks, copy)


def _repeated(generator: Generator, take: _Take) -> Finding:
    """The same journal once more, from its beginning."""
    stream = generator.restore(take.stream.journal, take.latents, 0)
    return Finding("repeated", _differing(generator, stream, take.blocks), 0.0, _DIFFERING)


def _restored(generator: Generator, take: _Take) -> Iterator[Finding]:
    block = take.copy.block
    for name, copy in (("restored by replay", None), ("restored by copy", take.copy)):
        stream = generator.restore(take.stream.journal, take.latents, block, snapshot=copy)
        yield Finding(name, _differing(generator, stream, take.blocks[block:]), 0.0, _DIFFERING)


def _differing(generator: Generator, stream: Stream, blocks: list[Block]) -> float:
    """How many of the next blocks are not these, bit for bit."""
    made = [generator.step(stream) for _ in blocks]
    generator.close(stream)
    pairs = zip(made, blocks, strict=True)
    return float(sum(one is None or one.frames_sha256 != other.frames_sha256 for one, other in pairs))


def _decoded(parts: Parts, take: _Take) -> Finding:
    """The frames as they were streamed against the whole clip: the library's own decoding where there is one."""
    streamed = np.concatenate([block.frames for block in take.blocks])
    whole = _decode_whole(parts, torch.cat([block.latents for block in take.blocks]).float())
    apart = np.abs(streamed.astype(np.int16) - whole.astype(np.int16)).max()
    return Finding("streamed decode", float(apart), 0.0, "levels of 255, largest difference")


def _decode_whole(parts: Parts, latents_FCHW: Tensor) -> RGB24:
    decoder = parts.decoder
    if parts.preset.decoder == "full":
        from models.wan_vae import WanVae

        assert isinstance(decoder, WanVae), "the decoder that a preset calls full"
        return to_rgb24(decoder.decode_whole(latents_FCHW))
    state, pixels = decoder.start(), []
    for latent_CHW in latents_FCHW:
        frames, state = decoder.decode(latent_CHW, state)
        pixels.append(frames)
    return to_rgb24(torch.cat(pixels))


def _prompt(generator: Generator, number: int) -> tuple[WeightedPrompt, ...]:
    known = generator.preset.suggested_prompts
    return (WeightedPrompt(known[number % len(known)] + (", later" if number >= len(known) else "")),)


def _limit(parts: Parts) -> float:
    quantised = any(type(p) is not torch.nn.Parameter for p in parts.passes.transformer.parameters())
    return QUANTISED_LIMIT if quantised else LIMITS[parts.dtype]


def _apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference as a share of the largest number."""
    ours, theirs = ours.double(), theirs.double()
    return float((ours - theirs).abs().max() / theirs.abs().max())
