"""The demo model's decoder: the linear codec's picture, corrected by a small convolutional network that remembers.

Shapes: N latent frames at once (training), C channels, H and W cells, P = frames x 3 pixel channels. The network sees
the present latent frame, the few before it and the linear picture, and adds to that picture. It is trained on what the
transformer really gives, so it takes away grain and the edges of patches besides what the codec itself loses.
Its memory is latent frames and nothing else: `receptive_latents` of them rebuild it exactly. Knows no transformer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, relu

from models.errors import ConfigError
from models.vae import DecoderState, LinearCodec, LinearCodecConfig


@dataclass(frozen=True, slots=True)
class RefinedCodecConfig:
    """Sizes: widths and residual blocks at the latent's resolution, at twice and at four times it."""

    linear: LinearCodecConfig = field(default_factory=LinearCodecConfig)
    widths: tuple[int, int, int] = (128, 64, 32)
    blocks: tuple[int, int, int] = (3, 2, 1)
    memory: int = 2
    """Latent frames before the present one that the network sees."""
    first_alone: bool = False
    """Whether the first latent frame of a scene stands for one frame instead of all `frames`."""

    def __post_init__(self) -> None:
        for name in ("widths", "blocks"):
            sizes: tuple[int, ...] = getattr(self, name)
            if len(sizes) != 3 or min(sizes) < 1:
                raise ConfigError(f"expected three numbers of 1 or more as {name}, got {sizes}", field=name)
        if self.memory < 0:
            raise ConfigError(f"expected a memory of 0 or more latent frames, got {self.memory}", field="memory")
        if self.linear.side % 4:
            raise ConfigError(f"expected a side that is a multiple of 4, got {self.linear.side}", field="side")


class RefinedCodec(LinearCodec):
    """A `StreamDecoder` that encodes as the linear codec does. New, it also decodes as that does."""

    def __init__(self, config: RefinedCodecConfig | None = None) -> None:
        self.refined = config or RefinedCodecConfig()
        super().__init__(self.refined.linear)
        self.network = _Refiner(self.refined)

    @property
    def receptive_latents(self) -> int:
        return self.refined.memory

    def frame_count(self, latent_index: int) -> int:
        frames = super().frame_count(latent_index)
        return 1 if self.refined.first_alone and latent_index == 0 else frames

    @torch.no_grad()
    def decode(self, latent_CHW: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """See `StreamDecoder`. The state holds copies of the latent frames before, newest first."""
        linear = self.linear_picture(latent_CHW[None])
        latent = latent_CHW.to(self.mean)
        _check_memory(state, latent)
        seen = [latent, *state.memory]
        frames = self.refine(self.joined(seen)[None], linear)[0].clamp(0.0, 1.0)
        memory = tuple(tensor.clone() for tensor in seen[: self.refined.memory])
        wanted = self.frame_count(state.latents)
        return frames[-wanted:], DecoderState(memory=memory, latents=state.latents + 1)

    @torch.no_grad()
    def encode(self, clip_T3HW: Tensor) -> Tensor:
        """Latents of a clip; where the first frame stands alone, of 1 + 4 k frames."""
        frames = self.config.frames
        if self.refined.first_alone and clip_T3HW.shape[0] % frames == 1:
            clip_T3HW = torch.cat([clip_T3HW[:1].expand(frames - 1, -1, -1, -1), clip_T3HW])
        latents: Tensor = super().encode(clip_T3HW)
        return latents

    def linear_picture(self, latents_NCHW: Tensor) -> Tensor:
        """What the linear codec alone decodes, frame by frame and not clamped: [N, frames, 3, H, W]."""
        frames, side = self.config.frames, self.config.side
        count, channels, rows, columns = latents_NCHW.shape
        if channels != self.config.channels:
            raise ValueError(f"expected latent frames of {self.config.channels} channels, got {channels}")
        flat = latents_NCHW.to(self.mean).permute(0, 2, 3, 1).reshape(-1, channels)
        patches = torch.addmm(self.mean, flat, self.decode_matrix.T).view(count, rows, columns, frames, side, side, 3)
        picture: Tensor = patches.permute(0, 3, 6, 1, 4, 2, 5).reshape(count, frames, 3, rows * side, columns * side)
        return picture

    def joined(self, latents_CHW: Sequence[Tensor]) -> Tensor:
        """The present latent frame and those before it, newest first, as the network's channels; zeros for none."""
        missing = self.refined.memory + 1 - len(latents_CHW)
        return torch.cat([*latents_CHW, *([torch.zeros_like(latents_CHW[0])] * missing)])

    def refine(self, latents_NMHW: Tensor, linear_NT3HW: Tensor) -> Tensor:
        """The corrected picture, not clamped: like `linear_NT3HW`."""
        correction: Tensor = self.network(latents_NMHW, linear_NT3HW.flatten(1, 2))
        return linear_NT3HW + correction.view_as(linear_NT3HW)

    def clip(self, latents_NFCHW: Tensor) -> Tensor:
        """Whole scenes at once, for training: frames [N, F, frames, 3, H, W], not clamped, with gradients."""
        count, length = latents_NFCHW.shape[:2]
        seen = [latents_NFCHW]
        for back in range(1, self.refined.memory + 1):
            earlier = torch.zeros_like(latents_NFCHW)
            earlier[:, back:] = latents_NFCHW[:, : max(length - back, 0)]
            seen.append(earlier)
        linear = self.linear_picture(latents_NFCHW.flatten(0, 1))
        return self.refine(torch.cat(seen, dim=2).flatten(0, 1), linear).reshape(count, length, *linear.shape[1:])


def _check_memory(state: DecoderState, latent_CHW: Tensor) -> None:
    for remembered in state.memory:
        if remembered.shape != latent_CHW.shape:
            expected = list(remembered.shape)
            raise ValueError(f"expected a latent frame of the scene's sizes {expected}, got {list(latent_CHW.shape)}")


class _Refiner(nn.Module):
    """Convolutions at three resolutions, coarse to fine; the linear picture joins at the second."""

    def __init__(self, config: RefinedCodecConfig) -> None:
        super().__init__()
        coarse, middle, fine = config.widths
        pictures = 3 * config.linear.frames
        self.side = config.linear.side
        self.inside = nn.Conv2d(config.linear.channels * (config.memory + 1), coarse, 3, padding=1)
        self.coarse = nn.Sequential(*(_Residual(coarse) for _ in range(config.blocks[0])))
        self.up_coarse = nn.Conv2d(coarse, 4 * middle, 1)
        self.picture = nn.Conv2d(pictures * (self.side // 2) ** 2, middle, 1)
        self.middle = nn.Sequential(*(_Residual(middle) for _ in range(config.blocks[1])))
        self.up_middle = nn.Conv2d(middle, 4 * fine, 1)
        self.fine = nn.Sequential(*(_Residual(fine) for _ in range(config.blocks[2])))
        self.out = nn.Conv2d(fine, pictures * (self.side // 4) ** 2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, latents_NMHW: Tensor, picture_NPHW: Tensor) -> Tensor:
        x = self.coarse(relu(self.inside(latents_NMHW)))
        x = pixel_shuffle(self.up_coarse(x), 2) + self.picture(pixel_unshuffle(picture_NPHW - 0.5, self.side // 2))
        x = pixel_shuffle(self.up_middle(self.middle(x)), 2)
        picture: Tensor = pixel_shuffle(self.out(self.fine(x)), self.side // 4)
        return picture


class _Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(relu(self.first(x)))
        return x + change
