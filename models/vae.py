"""Latents to pixels, streamed: the decoder interface, the linear codec, and frames as bytes.

Shapes: T frames, C channels, H and W pixels or latent cells, P one flattened patch.
The unit of decoding is one latent frame, always: several at once would round differently. A decoder holds
weights only; what a stream has seen is a `DecoderState`, a value that `decode` returns anew.
Knows nothing of the transformer, of prompts, or of how frames are encoded for the wire.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.errors import ConfigError, NotFiniteError

RGB24 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DecoderState:
    """What a decoder remembers of one scene: nothing before the first latent."""

    memory: tuple[Tensor, ...]
    latents: int  # latent frames of this scene decoded so far


class StreamDecoder(Protocol):
    """Decodes one latent frame at a time; many streams share one decoder."""

    @property
    def receptive_latents(self) -> int:
        """After this many latent frames, counted from an empty state, nothing depends on what was earlier."""
        ...

    def frame_count(self, latent_index: int) -> int:
        """How many frames latent frame number `latent_index` of a scene becomes."""
        ...

    def start(self) -> DecoderState:
        """The state at the beginning of a scene."""
        ...

    def decode(self, latent_CHW: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Pixels float [T, 3, H, W] in [0, 1], and the state after this latent frame."""
        ...


@runtime_checkable
class ClipEncoder(StreamDecoder, Protocol):
    """A decoder that can also encode: what a stream may begin with."""

    def encode(self, clip_T3HW: Tensor) -> Tensor:
        """Latent frames [F, C, H, W] of a scene's first frames, in [0, 1]; T as the frame counts of F add up to."""
        ...


def rebuild_state(decoder: StreamDecoder, latents: Sequence[Tensor], *, position: int) -> DecoderState:
    """The state before latent frame number `position` of a scene, from the latent frames that precede it.

    Args:
        latents: the last min(position, decoder.receptive_latents) latent frames before it, oldest first.
    """
    needed = min(position, decoder.receptive_latents)
    if len(latents) != needed:
        raise ValueError(f"expected the {needed} latent frames before latent frame {position}, got {len(latents)}")
    # An empty memory, but never a first latent frame: a decoder may treat that one otherwise.
    state = replace(decoder.start(), latents=position - needed)
    for latent_CHW in latents:
        _, state = decoder.decode(latent_CHW, state)
    return state


def to_rgb24(pixels_T3HW: Tensor) -> RGB24:
    """Frames as bytes [T, H, W, 3], contiguous, rounded half up."""
    if pixels_T3HW.ndim != 4 or pixels_T3HW.shape[1] != 3:
        raise ValueError(f"expected pixels of shape [T, 3, H, W], got {list(pixels_T3HW.shape)}")
    # The clamp would hide an infinity; the conversion of a NaN to an integer is undefined.
    if not is_finite(pixels_T3HW):
        raise NotFiniteError("expected finite pixels, got NaN or an infinity")
    # Not below 0 any more, so that the conversion to whole numbers rounds down.
    levels = pixels_T3HW.detach().float().mul(255.0).add_(0.5).clamp_(0.0, 255.0)
    frames: RGB24 = levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return frames


def is_finite(x: Tensor) -> bool:
    """Whether all numbers are. In one reading: the smallest and the largest are no numbers where any is none."""
    return bool(torch.stack(torch.aminmax(x)).isfinite().all()) if x.numel() else True


def frames_sha256(frames: RGB24) -> str:
    """Hex digest of the RGB24 bytes, in frame order."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"expected uint8 frames [T, H, W, 3], got {frames.dtype} {list(frames.shape)}")
    return hashlib.sha256(np.ascontiguousarray(frames).data).hexdigest()


@dataclass(frozen=True, slots=True)
class LinearCodecConfig:
    """Sizes of the linear codec: a patch of frames x side x side pixels becomes `channels` numbers."""

    channels: int = 64
    frames: int = 4
    side: int = 8

    def __post_init__(self) -> None:
        for name in ("channels", "frames", "side"):
            if getattr(self, name) < 1:
                raise ConfigError(f"expected {name} of 1 or more, got {getattr(self, name)}", field=name)
        if self.channels > self.patch_values:
            raise ConfigError(f"expected at most {self.patch_values} channels, got {self.channels}", field="channels")

    @property
    def patch_values(self) -> int:
        """Numbers in a patch, ordered frame, row, column, colour."""
        return self.frames * self.side * self.side * 3


class LinearCodec(nn.Module):
    """Patches projected on fixed directions (fitted outside: half-whitened principal components).

    Stateless: each latent frame stands for its own `frames` frames, the first one of a scene too.
    """

    mean: Tensor
    encode_matrix: Tensor
    decode_matrix: Tensor

    def __init__(self, config: LinearCodecConfig | None = None) -> None:
        super().__init__()
        self.config = config or LinearCodecConfig()
        channels, values = self.config.channels, self.config.patch_values
        self.register_buffer("mean", torch.full((values,), 0.5))
        self.register_buffer("decode_matrix", torch.empty(values, channels))
        self.register_buffer("encode_matrix", torch.empty(channels, values))
        self.reset_buffers()

    @torch.no_grad()
    def reset_buffers(self) -> None:
        """Random orthonormal directions: a codec that runs, and inverts itself, before it is fitted."""
        nn.init.orthogonal_(self.decode_matrix)
        self.encode_matrix.copy_(self.decode_matrix.T)

    @property
    def receptive_latents(self) -> int:
        return 0

    def frame_count(self, latent_index: int) -> int:
        if latent_index < 0:
            raise ValueError(f"expected a latent frame number of 0 or more, got {latent_index}")
        return self.config.frames

    def start(self) -> DecoderState:
        return DecoderState(memory=(), latents=0)

    @torch.no_grad()
    def decode(self, latent_CHW: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        if latent_CHW.ndim != 3 or latent_CHW.shape[0] != self.config.channels:
            raise ValueError(f"expected a latent frame [{self.config.channels}, H, W], got {list(latent_CHW.shape)}")
        _, rows, columns = latent_CHW.shape
        frames, side = self.config.frames, self.config.side
        latent_NC = latent_CHW.to(self.mean).flatten(1).T.contiguous()
        patches_NP = torch.addmm(self.mean, latent_NC, self.decode_matrix.T)
        patches = patches_NP.view(rows, columns, frames, side, side, 3)
        pixels = patches.permute(2, 5, 0, 3, 1, 4).reshape(frames, 3, rows * side, columns * side)
        return pixels.clamp(0.0, 1.0), DecoderState(memory=(), latents=state.latents + 1)

    @torch.no_grad()
    def encode(self, clip_T3HW: Tensor) -> Tensor:
        """Latents [T / 4, C, H / 8, W / 8] of pixels in [0, 1]; clips may be laid end to end along T."""
        frames, side = self.config.frames, self.config.side
        total, colours, height, width = clip_T3HW.shape if clip_T3HW.ndim == 4 else (0, 0, 0, 0)
        if colours != 3 or total % frames or height % side or width % side:
            raise ValueError(
                f"expected a clip [T, 3, H, W], T a multiple of {frames}, H and W of {side}, "
                f"got {list(clip_T3HW.shape)}"
            )
        count, rows, columns = total // frames, height // side, width // side
        patches = clip_T3HW.to(self.mean).reshape(count, frames, 3, rows, side, columns, side)
        patches_NP = patches.permute(0, 3, 5, 1, 4, 6, 2).reshape(-1, self.config.patch_values)
        latents_NC = (patches_NP - self.mean) @ self.encode_matrix.T
        return latents_NC.view(count, rows, columns, -1).permute(0, 3, 1, 2).contiguous()
