"""The tiny causal autoencoder (TAEW2.1 layout): latents to frames in a small fraction of the full VAE's time.

Shapes: T frames at the rate of the layer, C channels, H and W cells. Parameter names are the published ones.
Each memory block remembers its own last input, so that one latent frame at a time gives what the whole clip
would. The first latent frame of a scene has no frames before it to fill in: it gives one frame, not four.
The encoder half serves pictures and clips to begin with. Holds no state of a stream; knows no transformer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from models.errors import ConfigError
from models.vae import DecoderState


@dataclass(frozen=True, slots=True)
class TinyDecoderConfig:
    """Sizes. Each stage is memory blocks, twice the height and width, and `grow` times the frames.

    The encoder undoes the stages in reverse, all in one width.
    """

    latent_channels: int = 16
    widths: tuple[int, ...] = (256, 128, 64)
    head_width: int = 64
    grow: tuple[int, ...] = (1, 2, 2)
    blocks_per_stage: int = 3
    encoder_width: int = 64

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.grow) or not self.widths:
            found = f"{len(self.widths)} widths and {len(self.grow)} growths"
            raise ConfigError(f"expected a width and a growth for each stage, got {found}", field="widths")
        sizes = (self.latent_channels, *self.widths, self.head_width, *self.grow, self.blocks_per_stage)
        sizes = (*sizes, self.encoder_width)
        if min(sizes) < 1:
            raise ConfigError(f"expected sizes of 1 or more, got {self}", field="widths")

    @property
    def frames_per_latent(self) -> int:
        return prod(self.grow)

    @property
    def side(self) -> int:
        """Pixels along each side that one latent cell stands for."""
        return 1 << len(self.widths)

    @property
    def memory_blocks(self) -> int:
        return len(self.widths) * self.blocks_per_stage

    @property
    def receptive_latents(self) -> int:
        """How many latent frames reach into the state after the last of them (the tests hold it to be exact).

        Followed from each stage's last memory backwards: a block sees one frame back, at its stage's rate.
        """
        farthest = 0
        for last in range(len(self.grow)):
            frame = prod(self.grow[:last]) - 1  # the last frame of latent frame 0, at this stage's rate
            frame -= self.blocks_per_stage - 1  # a memory is what its block was given, not what it made of it
            for grow in reversed(self.grow[:last]):
                frame = frame // grow - self.blocks_per_stage
            farthest = min(farthest, frame)
        return 1 - farthest


class TinyDecoder(nn.Module):
    """A `ClipEncoder` over normalised latents, with the published model's names and numbers."""

    def __init__(self, config: TinyDecoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or TinyDecoderConfig()
        self.encoder = _Layers(_encoder_layers(self.config))
        self.decoder = _Layers(_layers(self.config))

    @property
    def receptive_latents(self) -> int:
        return self.config.receptive_latents

    def frame_count(self, latent_index: int) -> int:
        if latent_index < 0:
            raise ValueError(f"expected a latent frame number of 0 or more, got {latent_index}")
        return 1 if latent_index == 0 else self.config.frames_per_latent

    def start(self) -> DecoderState:
        return DecoderState(memory=(), latents=0)

    @torch.no_grad()
    def decode(self, latent_CHW: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        self._check(latent_CHW, state)
        x_TCHW, memory = self.decoder(latent_CHW[None].to(self._weight()), state.memory)
        frames = x_TCHW[-self.frame_count(state.latents) :].float().clamp(0.0, 1.0)
        return frames, DecoderState(memory=memory, latents=state.latents + 1)

    @torch.no_grad()
    def encode(self, clip_T3HW: Tensor) -> Tensor:
        """Normalised latents [F, C, H / 8, W / 8] of a scene's first 1 + 4 (F - 1) frames, in [0, 1].

        As published, each latent frame is made of four frames, the last of them of the clip's last frame repeated.
        """
        stride, side = self.config.frames_per_latent, self.config.side
        frames, colours, height, width = clip_T3HW.shape if clip_T3HW.ndim == 4 else (0, 0, 0, 0)
        if colours != 3 or frames % stride != 1 % stride or height % side or width % side:
            expected = f"a clip [1 + {stride} k, 3, H, W], H and W multiples of {side}"
            raise ValueError(f"expected {expected}, got {list(clip_T3HW.shape)}")
        filled = torch.cat([clip_T3HW, clip_T3HW[-1:].expand(stride - 1, -1, -1, -1)])
        latents: list[Tensor] = []
        memory: tuple[Tensor, ...] = ()
        for piece in filled.split(stride):
            latent, memory = self.encoder(piece.to(self._weight()), memory)
            latents.append(latent.float())
        return torch.cat(latents)

    def _weight(self) -> Tensor:
        weight = self.decoder[1].weight
        assert isinstance(weight, Tensor)
        return weight

    def _check(self, latent_CHW: Tensor, state: DecoderState) -> None:
        channels = self.config.latent_channels
        if latent_CHW.ndim != 3 or latent_CHW.shape[0] != channels:
            raise ValueError(f"expected a latent frame [{channels}, H, W], got {list(latent_CHW.shape)}")
        if not state.memory:
            return  # the beginning of a scene, or of a rebuild in the middle of one
        if len(state.memory) != self.config.memory_blocks:
            raise ValueError(f"expected {self.config.memory_blocks} memories, got {len(state.memory)}")
        if state.memory[0].shape[2:] != latent_CHW.shape[1:]:
            sizes = f"{list(state.memory[0].shape[2:])}, got {list(latent_CHW.shape[1:])}"
            raise ValueError(f"expected a latent frame of the scene's height and width {sizes}")


def tiny_state_bytes(config: TinyDecoderConfig, *, height: int, width: int, itemsize: int) -> int:
    """Bytes that the state of one stream takes; `height` and `width` in latent cells."""
    per_cell = sum(config.blocks_per_stage * (channels << 2 * stage) for stage, channels in enumerate(config.widths))
    return per_cell * height * width * itemsize


class _Layers(nn.ModuleList):
    """Layers one after the other, some of which remember."""

    def forward(self, x_TCHW: Tensor, before: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Frames, given what the memory blocks remember (nothing at a beginning), and the new memory."""
        memory: list[Tensor] = []
        for layer in self:
            if isinstance(layer, MemoryBlock):
                earlier = before[len(memory)] if before else torch.zeros_like(x_TCHW[:1])
                # A copy: a view would keep all frames of the layer alive.
                memory.append(x_TCHW[-1:].clone())
                x_TCHW = layer(x_TCHW, torch.cat([earlier, x_TCHW[:-1]]))
            else:
                x_TCHW = layer(x_TCHW)
        return x_TCHW, tuple(memory)


class MemoryBlock(nn.Module):
    """Three convolutions over a frame and the one before it, and a way around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)
        )

    def forward(self, x_TCHW: Tensor, before_TCHW: Tensor) -> Tensor:
        change: Tensor = self.conv(torch.cat([x_TCHW, before_TCHW], dim=1))
        return torch.relu(change + x_TCHW)


class _SoftClamp(nn.Module):
    """Latents beyond about 3 standard deviations are bent back smoothly."""

    def forward(self, x_TCHW: Tensor) -> Tensor:
        return torch.tanh(x_TCHW / 3) * 3


class _Grow(nn.Module):
    """Each frame becomes `times` frames; the earlier ones are in the lower channels."""

    def __init__(self, width: int, times: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, times * width, 1, bias=False)

    def forward(self, x_TCHW: Tensor) -> Tensor:
        channels, height, width = x_TCHW.shape[1:]
        grown: Tensor = self.conv(x_TCHW)
        return grown.reshape(-1, channels, height, width)


class _Pool(nn.Module):
    """`times` frames become one."""

    def __init__(self, width: int, times: int) -> None:
        super().__init__()
        self.times = times
        self.conv = nn.Conv2d(times * width, width, 1, bias=False)

    def forward(self, x_TCHW: Tensor) -> Tensor:
        channels, height, width = x_TCHW.shape[1:]
        pooled: Tensor = self.conv(x_TCHW.reshape(-1, self.times * channels, height, width))
        return pooled


def _conv(inputs: int, outputs: int, *, bias: bool = True, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias, stride=stride)


def _encoder_layers(config: TinyDecoderConfig) -> Iterator[nn.Module]:
    """In the published order, as `_layers`."""
    width = config.encoder_width
    yield _conv(3, width)
    yield nn.ReLU()
    for times in reversed(config.grow):
        yield _Pool(width, times)
        yield _conv(width, width, bias=False, stride=2)
        yield from (MemoryBlock(width) for _ in range(config.blocks_per_stage))
    yield _conv(width, config.latent_channels)


def _layers(config: TinyDecoderConfig) -> Iterator[nn.Module]:
    """In the published order: a layer's place is in the names of its parameters."""
    yield _SoftClamp()
    yield _conv(config.latent_channels, config.widths[0])
    yield nn.ReLU()
    for width, next_width, grow in zip(
        config.widths, (*config.widths[1:], config.head_width), config.grow, strict=True
    ):
        yield from (MemoryBlock(width) for _ in range(config.blocks_per_stage))
        yield nn.Upsample(scale_factor=2)
        yield _Grow(width, grow)
        yield _conv(width, next_width, bias=False)
    yield nn.ReLU()
    yield _conv(config.head_width, 3)
