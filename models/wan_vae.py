"""The causal VAE of Wan2.1, streamed: one latent frame at a time, with what each stream has seen in a value of its own.

Shapes: T frames, F latent frames, C channels, H and W pixels or latent cells. The network is the library's; original
checkpoints' names are brought to its own. Its causal convolutions remember in a list that the caller hands in, so many
streams share one set of weights. The first latent frame of a scene gives one frame, later ones four. Latents are
normalised outside of the network, in float32. Knows nothing of the transformer.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from models.config import LATENT_STRIDE_TIME, WanVaeConfig
from models.errors import ConfigError
from models.vae import DecoderState

STAGES = 4
_GROWS = (True, True, False, False)
"""Which stages of the decoder end in twice the frames; all but the last end in twice the height and width."""
_SIDE = 1 << (STAGES - 1)
_SKIP = "Rep"
"""The library's mark of a convolution that was passed over by a scene's first latent frame."""
_REACH = 2
"""Frames before the present one that a convolution over time sees."""


class WanVae(nn.Module):
    """A `ClipEncoder`. Make it on the meta device and fill `model` from files, whose names `own_name` understands."""

    def __init__(self, config: WanVaeConfig | None = None) -> None:
        super().__init__()
        self.config = config or WanVaeConfig()
        if len(self.config.dim_mult) != STAGES:
            found = len(self.config.dim_mult)
            raise ConfigError(f"a VAE of this family must have {STAGES} stages, not {found}", field="dim_mult")
        self.model = _library_model(self.config)
        self.eval().requires_grad_(False)
        self._skippable = frozenset(_growing_slots(self.config))
        self._normal = (torch.empty(0), torch.empty(0))

    @property
    def receptive_latents(self) -> int:
        return receptive_latents(self.config)

    def frame_count(self, latent_index: int) -> int:
        if latent_index < 0:
            raise ValueError(f"expected a latent frame number of 0 or more, got {latent_index}")
        return 1 if latent_index == 0 else LATENT_STRIDE_TIME

    def start(self) -> DecoderState:
        return DecoderState(memory=(), latents=0)

    def own_name(self, name: str) -> str:
        """The name in `model` of a tensor in an original file or one of the library's."""
        return wan_vae_name(name, res_blocks=self.config.num_res_blocks)

    @torch.no_grad()
    def decode(self, latent_CHW: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """See `StreamDecoder`. The state holds the last two inputs of each convolution over time."""
        self._check(latent_CHW, state)
        mean, std = self._statistics()
        raw = latent_CHW.to(mean) * std + mean
        slots = self._slots(state)
        mixed = self.model.post_quant_conv(raw.to(self.model.dtype)[None, :, None])
        made = self.model.decoder(mixed, feat_cache=slots, feat_idx=[0], first_chunk=state.latents == 0)
        pixels: Tensor = (made[0].transpose(0, 1).float().clamp(-1.0, 1.0) + 1.0) / 2.0
        return pixels, DecoderState(memory=self._memory(slots), latents=state.latents + 1)

    @torch.no_grad()
    def decode_whole(self, latents_FCHW: Tensor) -> Tensor:
        """A whole clip by the library's own decoding, which streamed decoding has to equal: [T, 3, H, W] in [0, 1]."""
        mean, std = self._statistics()
        raw = (latents_FCHW.to(mean) * std + mean).to(self.model.dtype)
        made = self.model.decode(raw.transpose(0, 1)[None]).sample[0]
        pixels: Tensor = (made.transpose(0, 1).float().clamp(-1.0, 1.0) + 1.0) / 2.0
        return pixels

    @torch.no_grad()
    def encode(self, clip_T3HW: Tensor) -> Tensor:
        """Normalised latents [F, C, H / 8, W / 8] of a scene's first 1 + 4 (F - 1) frames, in [0, 1]."""
        frames, colours, height, width = clip_T3HW.shape if clip_T3HW.ndim == 4 else (0, 0, 0, 0)
        if colours != 3 or frames % LATENT_STRIDE_TIME != 1 or height % _SIDE or width % _SIDE:
            expected = f"a clip [1 + {LATENT_STRIDE_TIME} k, 3, H, W], H and W multiples of {_SIDE}"
            raise ValueError(f"expected {expected}, got {list(clip_T3HW.shape)}")
        mean, std = self._statistics()
        slots: list[Any] = [None] * _causal_convolutions(self.model.encoder)
        latents = []
        for piece_T3HW in _pieces(clip_T3HW):
            pixels = piece_T3HW.to(mean.device).float() * 2.0 - 1.0
            inside = self.model.encoder(
                pixels.transpose(0, 1)[None].to(self.model.dtype), feat_cache=slots, feat_idx=[0]
            )
            # The network gives a mean and a variance; the mean is what is taken.
            raw = self.model.quant_conv(inside)[0, : self.config.z_dim, 0].float()
            latents.append((raw - mean) / std)
        return torch.stack(latents)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the raw latents [C, 1, 1]: float32 whatever the weights are in."""
        device = self.model.device
        if self._normal[0].device != device or not self._normal[0].numel():
            mean, std = (torch.tensor(values, device=device) for values in (self.config.mean, self.config.std))
            self._normal = (mean[:, None, None], std[:, None, None])
        return self._normal

    def _slots(self, state: DecoderState) -> list[Any]:
        """The memory as the network wants it."""
        slots: list[Any] = [None] * _causal_convolutions(self.model.decoder)
        for place, tensor in enumerate(state.memory):
            slots[place] = tensor if tensor.numel() else _SKIP
        if state.latents > 0 and not state.memory:
            # A rebuild in the middle of a scene: nothing is remembered, yet nothing is passed over.
            for place in self._skippable:
                slots[place] = _SKIP
        return slots

    def _memory(self, slots: list[Any]) -> tuple[Tensor, ...]:
        nothing = torch.empty(0, device=self.model.device, dtype=self.model.dtype)
        return tuple(nothing if slot == _SKIP else slot for slot in slots if slot is not None)

    def _check(self, latent_CHW: Tensor, state: DecoderState) -> None:
        channels = self.config.z_dim
        if latent_CHW.ndim != 3 or latent_CHW.shape[0] != channels:
            raise ValueError(f"expected a latent frame [{channels}, H, W], got {list(latent_CHW.shape)}")
        if not state.memory:
            return
        needed = len(_slot_shapes(self.config))
        if len(state.memory) != needed:
            raise ValueError(f"expected {needed} memories, got {len(state.memory)}")
        if state.memory[0].shape[-2:] != latent_CHW.shape[1:]:
            sizes = f"{list(state.memory[0].shape[-2:])}, got {list(latent_CHW.shape[1:])}"
            raise ValueError(f"expected a latent frame of the scene's height and width {sizes}")


def _library_model(config: WanVaeConfig) -> Any:
    # Imported where it is used: slow, and only the published checkpoints need it.
    try:
        from diffusers import AutoencoderKLWan
    except ModuleNotFoundError as error:
        message = f"the full decoder needs the package {error.name}: install longtake[checkpoints]"
        raise ConfigError(message, field="decoder") from error
    return AutoencoderKLWan(
        base_dim=config.dim,
        z_dim=config.z_dim,
        dim_mult=list(config.dim_mult),
        num_res_blocks=config.num_res_blocks,
        latents_mean=list(config.mean),
        latents_std=list(config.std),
    )


def _causal_convolutions(network: nn.Module) -> int:
    """Room for as many memories as the library counts; it counts one or two more than it uses."""
    return sum(type(module).__name__ == "WanCausalConv3d" for module in network.modules())


def _pieces(clip_T3HW: Tensor) -> Iterator[Tensor]:
    """The frames of each latent frame: one, then four at a time."""
    yield clip_T3HW[:1]
    for first in range(1, len(clip_T3HW), LATENT_STRIDE_TIME):
        yield clip_T3HW[first : first + LATENT_STRIDE_TIME]


# What the decoder remembers, reckoned from its sizes


def _slot_shapes(config: WanVaeConfig) -> list[tuple[int, int]]:
    """Channels and magnification of the input of each convolution over time, in the order in which they run."""
    widths = [config.dim * mult for mult in reversed(config.dim_mult)]
    shapes = [(config.z_dim, 1), *[(widths[0], 1)] * 4]
    for stage, (width, grows) in enumerate(zip(widths, _GROWS, strict=True)):
        scale = 2**stage
        # What comes in has half the channels of the stage before.
        inside = widths[stage - 1] // 2 if stage else width
        shapes += [(inside, scale), (width, scale), *[(width, scale)] * 2 * config.num_res_blocks]
        shapes += [(width, scale)] if grows else []
    return [*shapes, (widths[-1], 1 << (STAGES - 1))]


def _growing_slots(config: WanVaeConfig) -> Iterator[int]:
    """Places of the convolutions that double the frames."""
    place = 5
    for grows in _GROWS:
        place += 2 * (config.num_res_blocks + 1)
        if grows:
            yield place
            place += 1


def vae_state_bytes(config: WanVaeConfig, *, height: int, width: int, itemsize: int) -> int:
    """Bytes of one stream's state from its third latent frame on; `height` and `width` are in latent cells."""
    per_cell = sum(channels * scale**2 for channels, scale in _slot_shapes(config))
    return _REACH * per_cell * height * width * itemsize


def receptive_latents(config: WanVaeConfig) -> int:
    """How many latent frames reach into the state after the last of them (the tests hold it to be exact).

    Followed from each memory backwards: it begins one frame before the last, and a convolution sees two frames back.
    """
    farthest = 0
    in_stage = 2 * (config.num_res_blocks + 1)
    before = [1 + 4 + in_stage + 1, in_stage + 1, 2 * in_stage + 1]
    for last in range(len(before)):
        frame = 2**last - 2 - _REACH * (before[last] - 1)
        for convolutions in reversed(before[:last]):
            frame = frame // 2 - _REACH * convolutions
        farthest = min(farthest, frame)
    return 1 - farthest


# Names

_RESIDUAL = {"residual.0": "norm1", "residual.2": "conv1", "residual.3": "norm2", "residual.6": "conv2"}
_RESIDUAL |= {"shortcut": "conv_shortcut"}
_ENDS = {"conv1": "conv_in", "head.0": "norm_out", "head.2": "conv_out"}
_WHOLE = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
_MIDDLE = {"0": "mid_block.resnets.0", "1": "mid_block.attentions.0", "2": "mid_block.resnets.1"}
_NAME = re.compile(r"(?:(encoder|decoder)\.)?(?:(middle|downsamples|upsamples)\.(\d+)\.)?(.+)\.(weight|bias|gamma)")


def wan_vae_name(name: str, *, res_blocks: int = 2) -> str:
    """The library's name of a tensor of an original file; a name that is the library's already stays as it is.

    `res_blocks`: residual blocks in a stage, which the original numbers through without marking the stages.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return name
    side, part, number, inner, kind = match.groups()
    if side is None:
        return f"{_WHOLE.get(inner, inner)}.{kind}"
    if part is None:
        return f"{side}.{_ENDS.get(inner, inner)}.{kind}"
    place = _MIDDLE.get(number) if part == "middle" else _place(part, int(number), res_blocks=res_blocks)
    if place is None:
        return name
    return f"{side}.{place}.{_RESIDUAL.get(inner, inner)}.{kind}"


def _place(part: str, number: int, *, res_blocks: int) -> str:
    if part == "downsamples":
        return f"down_blocks.{number}"
    stage, place = divmod(number, res_blocks + 2)
    inside = "upsamplers.0" if place == res_blocks + 1 else f"resnets.{place}"
    return f"up_blocks.{stage}.{inside}"
