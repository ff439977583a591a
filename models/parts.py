"""The parts of one engine: weights, sizes and schedule, and the few things that need more than one of them.

Shared by all streams and never changed by them. Knows nothing of a stream's order of operations.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from cache.kinds import cache_bytes
from cache.kv import KVCache
from cache.recache import FramesFrom
from cache.text_kv import TextKeysValues
from cache.window import PassPlan, WindowSpec
from models.adapters import Adapters
from models.config import TRAINING_TIMESTEPS, Prediction
from models.lanes import InPlace, Lane
from models.passes import CachedPasses
from models.presets import Preset
from models.quantize import held_bytes
from models.sampler import Schedule, make_schedule, model_input
from models.text import TextEncoder
from models.transformer import TimeEmbedding
from models.umt5 import TextPlacement
from models.vae import StreamDecoder

LATENT_DTYPES: Final[Mapping[str, torch.dtype]] = {"float32": torch.float16, "bfloat16": torch.bfloat16}
"""What finished latents are stored in, by the dtype that is computed in: two bytes a number in either case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is loaded beside the transformer, in bytes of weights."""

    text_encoder_bytes: int = 0
    """On the device."""
    codec_bytes: int = 0
    host_bytes: int = 0
    """In host memory, where there is a device beside it."""
    placement: TextPlacement = "device"
    """Of the text encoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One loaded engine. `latent_dtype` is what finished latents are rounded to, stored in and computed from."""

    preset: Preset
    passes: CachedPasses
    text_encoder: TextEncoder
    decoder: StreamDecoder
    schedule: Schedule
    times: tuple[TimeEmbedding, ...]
    """The embedded timestep of each denoising step."""
    levels: tuple[float | Tensor, ...]
    """Sigma of each denoising step; a tensor [1, F, 1, 1, 1] where the frames of a block have their own."""
    clean_time: TimeEmbedding
    latent_dtype: torch.dtype
    fingerprint: str
    adapters: Adapters
    beside: Beside = field(default_factory=Beside)
    lane: Lane = field(default_factory=InPlace)
    """Where blocks are decoded."""

    @property
    def reuses_last_pass(self) -> bool:
        """Whether a block's keys and values are those of its last denoising pass."""
        return self.preset.sampler.reuse_last_pass

    @property
    def spec(self) -> WindowSpec:
        return self.passes.spec

    @property
    def prediction(self) -> Prediction:
        return self.passes.transformer.config.prediction

    @property
    def data_std(self) -> Tensor | None:
        return self.passes.transformer.data_std if self.prediction == "edm_x0" else None

    @property
    def dtype(self) -> torch.dtype:
        return self.passes.transformer.dtype

    @property
    def device(self) -> torch.device:
        return self.passes.transformer.device

    @property
    def weight_bytes(self) -> int:
        """Of the transformer, as it is loaded."""
        return held_bytes(self.passes.transformer)

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one stream."""
        passes = self.passes
        return cache_bytes(passes.kind, self.spec, shape=passes.cache_shape(), dtype=self.dtype)

    @property
    def block_shape(self) -> tuple[int, int, int, int]:
        """Latents of one block, [F, C, H, W]."""
        video = self.preset.video
        return (self.spec.block_frames, video.latent_channels, video.latent_height, video.latent_width)

    def encode(self, prompt: str) -> Tensor:
        """A prompt's embedding [text_len, text_dim]."""
        return self.text_encoder.encode(prompt).embedding

    def embed_text(self, embedding: Tensor) -> TextKeysValues:
        return self.passes.transformer.embed_text(embedding[None].to(self.device))

    def network_input(self, latents: Tensor, sigma: float | Tensor) -> Tensor:
        """Latents at a noise level as the network is given them."""
        return model_input(self.prediction, latents.to(self.dtype), sigma, self.data_std)

    def rebuild(self, cache: KVCache, plan: PassPlan, *, frames: FramesFrom, text: TextKeysValues) -> None:
        """Write the keys and values of finished frames under `text`: a clean pass, a recache or a flush."""
        sigma = self.schedule.context_timestep / TRAINING_TIMESTEPS

        def given(first: int, count: int) -> Tensor:
            return self.network_input(frames(first, count).to(self.device), sigma)

        self.passes.rebuild(cache, plan, frames=given, text=text, time=self.clean_time)

    def repeat_last_pass(self, cache: KVCache, plan: PassPlan, *, context: Tensor, text: TextKeysValues) -> None:
        """A block's last denoising pass once more, from what it was given, [F, C, H, W]."""
        given = self.network_input(context[None].to(self.device), self.levels[-1])
        self.passes.rebuild(cache, plan, frames=lambda *_: given, text=text, time=self.times[-1])

    def new_history(self) -> deque[Tensor]:
        """Room for the latents of as many blocks as a window can need."""
        return deque(maxlen=-(-self.spec.slots // self.spec.block_frames))


@torch.inference_mode()
def assemble(
    preset: Preset,
    passes: CachedPasses,
    *,
    text_encoder: TextEncoder,
    decoder: StreamDecoder,
    fingerprint: str,
    adapters: Adapters | None = None,
    beside: Beside | None = None,
) -> Parts:
    """Put an engine together and compute once what every block needs."""
    schedule = make_schedule(preset.sampler, frames=preset.window.block_frames)
    levels, times = _steps(schedule, passes)
    return Parts(
        preset=preset,
        passes=passes,
        text_encoder=text_encoder,
        decoder=decoder,
        schedule=schedule,
        times=times,
        levels=levels,
        clean_time=passes.embed_timestep(schedule.context_timestep),
        latent_dtype=LATENT_DTYPES[preset.dtype],
        fingerprint=fingerprint,
        adapters=adapters or Adapters(passes.transformer),
        beside=beside or Beside(),
    )


def _steps(schedule: Schedule, passes: CachedPasses) -> tuple[tuple[float | Tensor, ...], tuple[TimeEmbedding, ...]]:
    """Each denoising step's level and its embedded timestep."""
    if not schedule.staggered:
        return schedule.sigmas, tuple(passes.embed_timestep(timestep) for timestep in schedule.timesteps)
    rows = [torch.tensor(row, dtype=torch.float32, device=passes.transformer.device) for row in schedule.staggered]
    levels = tuple(row.view(1, -1, 1, 1, 1) for row in rows)
    return levels, tuple(passes.embed_timesteps(TRAINING_TIMESTEPS * row[None]) for row in rows)
