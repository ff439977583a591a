"""One block made: noise to latents to frames, and once more with other noise where the first is found faulty.

Knows sampler, model and decoder; decides nothing about prompts or the past. Invariant: the stream is not changed: the
passes write the slots of the block in the making alone, so a block given up or refused leaves nothing behind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

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
    frames: RGB24
    decoder: DecoderState
    attempt: int


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
        latents = given.to(parts.device)
        with timings.measure("decode"):
            return Made(latents, *_decode(parts, latents, stream.decoder), FIRST_ATTEMPT)
    fault = ""
    for attempt in range(stream.attempt, LAST_ATTEMPT + 1):
        with timings.measure("denoise"):
            denoised = _denoise(parts, stream, plan, attempt=attempt, interrupted=interrupted)
        if denoised is None:
            return None
        try:
            with timings.measure("decode"):
                frames, decoder = _decode(parts, denoised, stream.decoder)
        except NotFiniteError:
            fault = "not_finite"
            continue
        found = check(denoised, frames)
        if found is None:
            return Made(denoised, frames, decoder, attempt)
        fault = found
    message = f"block {stream.next_block} came out faulty ({fault}), and so when it was made again"
    raise FaultyBlockError(message, code=f"guard_{fault}")


def _denoise(parts: Parts, stream: Stream, plan: PassPlan, *, attempt: int, interrupted: Interrupted) -> Tensor | None:
    context = parts.passes.prepare(stream.cache, plan, text=stream.text)
    block, take = stream.next_block, stream.take

    def noise(step: int) -> Tensor:
        key = NoiseKey(seed=stream.seed, take=take, block=block, attempt=attempt, step=step)
        return draw_noise(key, (1, *parts.block_shape)).to(parts.device, parts.dtype)

    def predict(noisy: Tensor, step: int) -> Tensor:
        sigma = parts.schedule.sigmas[step]
        output = parts.passes.run(parts.network_input(noisy, sigma), time=parts.times[step], context=context)
        return to_x0(parts.prediction, output, noisy=noisy, sigma=sigma, data_std=parts.data_std)

    x0 = denoise_block(predict, noise(0), parts.schedule, renoise=lambda step: noise(step + 1), interrupted=interrupted)
    return None if x0 is None else x0[0].to(parts.latent_dtype)


def _decode(parts: Parts, latents: Tensor, state: DecoderState) -> tuple[RGB24, DecoderState]:
    """Raises NotFiniteError: what is stored, decoded and built upon has to be numbers."""
    if not is_finite(latents):
        raise NotFiniteError("expected finite latents")
    pixels = []
    for latent in latents:
        made, state = parts.decoder.decode(latent.float(), state)
        pixels.append(made)
    return to_rgb24(torch.cat(pixels)), state
