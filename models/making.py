"""One block made: noise to latents to frames, and once more with other noise where the first is found faulty.

Knows sampler, model and decoder; decides nothing about prompts or the past. Invariant: the stream is not changed: all
passes, the clean one too, write the slots of the block in the making alone, so a block given up or refused leaves
nothing behind.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import torch
from torch import Tensor

from cache.window import PassPlan
from models.errors import FaultyBlockError, NotFiniteError
from models.noise import NoiseKey, draw_noise
from models.parts import Parts
from models.sampler import denoise_block, to_x0
from models.stream import Interrupted, StageTimings, Stream
from models.vae import RGB24, DecoderState, is_finite, to_rgb24

FIRST_ATTEMPT: Final = 0
LAST_ATTEMPT: Final = 1

Check = Callable[[Tensor, RGB24], str | None]
"""Looks at the latents [F, C, H, W] and frames of a block; the name of what is wrong with it, or None."""


@dataclass(frozen=True, slots=True)
class Made:
    """A block that is found good, and the decoder's state behind it."""

    latents: Tensor
    context: Tensor | None
    """What the last pass was given, where its keys and values stay; they are then in the block's slots."""
    frames: RGB24
    decoder: DecoderState
    attempt: int
    clean: bool
    """Whether its clean pass was run meanwhile."""


def no_check(_latents: Tensor, _frames: RGB24) -> str | None:
    """The answer of who does not look."""
    return None


def make_block(
    parts: Parts, stream: Stream, *, plan: PassPlan, interrupted: Interrupted, check: Check, timings: StageTimings
) -> Made | None:
    """None where it was interrupted. Raises FaultyBlockError where the second attempt is faulty, too.

    A block that was given is taken as it is.
    """
    if (given := stream.given) is not None:
        return _shown(parts, stream, _Denoised(given.to(parts.device), None), plan=plan, timings=timings)
    fault = ""
    for attempt in range(stream.attempt, LAST_ATTEMPT + 1):
        with timings.measure("denoise"):
            denoised = _denoise(parts, stream, plan, attempt=attempt, interrupted=interrupted)
        if denoised is None:
            return None
        try:
            made = _shown(parts, stream, denoised, plan=plan, timings=timings)
        except NotFiniteError:
            fault = "not_finite"
            continue
        found = check(made.latents, made.frames)
        if found is None:
            return replace(made, attempt=attempt)
        fault = found
    message = f"block {stream.next_block} came out faulty ({fault}), and so when it was made again"
    raise FaultyBlockError(message, code=f"guard_{fault}")


class _Denoised(NamedTuple):
    latents: Tensor
    context: Tensor | None


def _denoise(
    parts: Parts, stream: Stream, plan: PassPlan, *, attempt: int, interrupted: Interrupted
) -> _Denoised | None:
    given: list[Tensor] = []
    context = parts.passes.prepare(stream.cache, plan, text=stream.text)
    block, take = stream.next_block, stream.take

    def noise(step: int) -> Tensor:
        key = NoiseKey(seed=stream.seed, take=take, block=block, attempt=attempt, step=step)
        return draw_noise(key, (1, *parts.block_shape)).to(parts.device, parts.dtype)

    def predict(noisy: Tensor, step: int) -> Tensor:
        sigma = parts.levels[step]
        if parts.reuses_last_pass and step + 1 == parts.schedule.steps:
            # Rounded as it is stored, so that the same pass can be run again from what is stored.
            rounded = noisy.to(parts.latent_dtype)
            given.append(rounded[0])
            noisy = rounded.to(parts.dtype)
        output = parts.passes.run(parts.network_input(noisy, sigma), time=parts.times[step], context=context)
        return to_x0(parts.prediction, output, noisy=noisy, sigma=sigma, data_std=parts.data_std)

    x0 = denoise_block(
        predict,
        noise(0),
        parts.schedule,
        renoise=lambda step: noise(step + 1),
        interrupted=interrupted,
        levels=parts.levels,
    )
    return None if x0 is None else _Denoised(x0[0].to(parts.latent_dtype), given[0] if given else None)


def _shown(parts: Parts, stream: Stream, denoised: _Denoised, *, plan: PassPlan, timings: StageTimings) -> Made:
    """Decoded, and its clean pass run beside it where the parts' lane does so.

    Raises NotFiniteError: what is stored, decoded and built upon has to be numbers.
    """
    latents, before = denoised.latents, stream.decoder
    if not is_finite(latents):
        raise NotFiniteError("expected finite latents")
    clean = False

    def meanwhile() -> None:
        nonlocal clean
        if denoised.context is None:
            # Should the block be found faulty, the next attempt's passes write the same slots.
            with timings.measure("clean"):
                parts.rebuild(stream.cache, plan, frames=lambda *_: latents[None], text=stream.text)
            clean = True

    def begin() -> tuple[Tensor, DecoderState]:
        return _decode(parts, latents, before)

    def finish(begun: tuple[Tensor, DecoderState]) -> tuple[RGB24, DecoderState]:
        pixels, state = begun
        return to_rgb24(pixels), state

    spent = timings.clean
    with timings.measure("decode"):
        frames, state = parts.lane.run(begin, finish, meanwhile=meanwhile, reads=(latents, *before.memory))
    timings.decode -= timings.clean - spent
    return Made(latents, denoised.context, frames, state, FIRST_ATTEMPT, clean)


def _decode(parts: Parts, latents: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
    """Pixels of all frames of a block, one latent frame after the other."""
    pixels = []
    for latent in latents:
        made, state = parts.decoder.decode(latent.float(), state)
        pixels.append(made)
    return torch.cat(pixels), state
