"""The block-causal diffusion transformer, one for every size: demo, 1.3B, 14B. Parameter names are Wan2.1's.

Maps noisy latent frames, a timestep for each frame and a text to the network's output (see models/sampler.py for
what it means). Causality is not in here: how a pass meets the past is the `attend` argument. Knows no cache policy,
no prompts, no schedule. Formulas: longlive-spec 1.3.

Legend: B batch, F latent frames, C channels or width, S tokens of a frame, N = F x S, H heads, D width of a head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cache.text_kv import TextKeysValues
from models.attention import Attend, Kernel, attention
from models.config import TransformerConfig
from models.kernels.forms import FusedInputs
from models.rope import Rotation, rotate, video_rotation


@dataclass(frozen=True, slots=True)
class TimeEmbedding:
    """What the timestep adds: six vectors for the blocks, one for the head. F is 1 where all frames share it."""

    blocks_BF6C: Tensor
    head_BFC: Tensor


class RMSNorm(nn.Module):
    """Over the last axis, in float32; the learned weight multiplies in the dtype of the activations."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        out: Tensor = normed.to(x.dtype) * self.weight
        return out


class _Projections(nn.Module):
    """The q, k, v, o of an attention and its norms over the full width, before heads are split."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q = RMSNorm(dim, config.eps)
        self.norm_k = RMSNorm(dim, config.eps)

    def queries(self, x: Tensor) -> Tensor:
        return self._split(self.norm_q(self.q(x)))

    def keys(self, x: Tensor) -> Tensor:
        return self._split(self.norm_k(self.k(x)))

    def values(self, x: Tensor) -> Tensor:
        return self._split(self.v(x))

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1)


class SelfAttention(_Projections):
    def forward(self, x_BNC: Tensor, *, rope: Rotation, attend: Attend, layer: int) -> Tensor:
        q = rotate(self.queries(x_BNC), rope)
        k = rotate(self.keys(x_BNC), rope)
        out: Tensor = self.o(attend.attend(layer, q, k, self.values(x_BNC)).flatten(-2))
        return out


class CrossAttention(_Projections):
    """Over all text positions, the padded ones too, as the weights were trained."""

    def forward(self, x_BNC: Tensor, keys_BTHD: Tensor, values_BTHD: Tensor, kernel: Kernel) -> Tensor:
        out: Tensor = self.o(attention(self.queries(x_BNC), keys_BTHD, values_BTHD, kernel=kernel).flatten(-2))
        return out


class Block(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.self_attn = SelfAttention(config)
        self.norm3 = nn.LayerNorm(config.dim, config.eps)
        self.cross_attn = CrossAttention(config)
        self.ffn = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, config.dim)
        )
        self.modulation = nn.Parameter(torch.zeros(1, 6, config.dim))

    def forward(self, x_BNC: Tensor, time_BF6C: Tensor, *, context: "PassContext", layer: int) -> Tensor:
        shift_sa, scale_sa, gate_sa, shift_ff, scale_ff, gate_ff = (self.modulation + time_BF6C).unbind(2)
        hidden = modulate(x_BNC, shift_sa, scale_sa, self.eps)
        x_BNC = gated(x_BNC, self.self_attn(hidden, rope=context.rope, attend=context.attend, layer=layer), gate_sa)
        keys, values = context.text.layer(layer)
        x_BNC = x_BNC + self.cross_attn(self.norm3(x_BNC), keys, values, context.kernel)
        return gated(x_BNC, self.ffn(modulate(x_BNC, shift_ff, scale_ff, self.eps)), gate_ff)


class _Blocks(nn.ModuleList):
    """A list of blocks that says so to the type checker."""

    def __iter__(self) -> Iterator[Block]:
        return cast(Iterator[Block], super().__iter__())


class Head(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.eps = config.eps
        patch_t, patch_h, patch_w = config.patch_size
        self.head = nn.Linear(config.dim, config.out_channels * patch_t * patch_h * patch_w)
        self.modulation = nn.Parameter(torch.zeros(1, 2, config.dim))

    def forward(self, x_BNC: Tensor, time_BFC: Tensor) -> Tensor:
        shift, scale = (self.modulation + time_BFC[:, :, None]).unbind(2)
        out: Tensor = self.head(modulate(x_BNC, shift, scale, self.eps))
        return out


@dataclass(frozen=True, slots=True)
class PassContext:
    """What all layers of one pass share."""

    rope: Rotation
    text: TextKeysValues
    attend: Attend
    kernel: Kernel = "auto"
    fused: FusedInputs | None = None
    """The same for the hot path (models/hot.py), where that is used."""


class Transformer(nn.Module):
    """See the module's header. All parameters are made on torch's default device (use `torch.device("meta")`)."""

    data_std: Tensor
    """Deviation of each latent channel, [C]; only with `edm_x0`."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        dim, patch = config.dim, config.patch_size
        self.patch_embedding = nn.Conv3d(config.in_channels, dim, kernel_size=patch, stride=patch)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = _Blocks(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)
        if config.learned_position is not None:
            rows, columns = config.learned_position
            self.pos_embed = nn.Parameter(torch.zeros(rows * columns, dim))
        if config.prediction == "edm_x0":
            self.register_buffer("data_std", torch.ones(config.in_channels))

    @property
    def dtype(self) -> torch.dtype:
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.patch_embedding.weight.device

    def forward(self, latents_BFCHW: Tensor, *, time: TimeEmbedding, context: PassContext) -> Tensor:
        """The network's output [B, F, out_channels, H, W] for latents at the timesteps that `time` embeds."""
        rows, columns = self.config.token_grid(*latents_BFCHW.shape[-2:])
        x: Tensor = self.patchify(latents_BFCHW)
        for layer, block in enumerate(self.blocks):
            x = block(x, time.blocks_BF6C, context=context, layer=layer)
        return self.unpatchify(self.head(x, time.head_BFC), rows, columns)

    def embed_time(self, timestep_BF: Tensor) -> TimeEmbedding:
        """Embed timesteps in 0..1000. [B, 1] where all frames of a pass share one."""
        waves = sinusoid(timestep_BF, self.config.freq_dim).to(self.dtype)
        head: Tensor = self.time_embedding(waves)
        return TimeEmbedding(self.time_projection(head).view(*head.shape[:-1], 6, -1), head)

    def embed_text(self, text_BTE: Tensor) -> TextKeysValues:
        """Cross-attention keys and values of all layers for a text encoder's output, padding included."""
        expected = (self.config.text_len, self.config.text_dim)
        assert text_BTE.shape[1:] == expected, (text_BTE.shape, expected)
        hidden = self.text_embedding(text_BTE.to(self.dtype))
        attentions = [block.cross_attn for block in self.blocks]
        return TextKeysValues(
            torch.stack([cross.keys(hidden) for cross in attentions]),
            torch.stack([cross.values(hidden) for cross in attentions]),
        )

    def rope(self, frames: Sequence[int], *, height: int, width: int) -> Rotation:
        """The rotation of latent frames of height x width at the given temporal positions, on the weights' device."""
        rows, columns = self.config.token_grid(height, width)
        rotation = video_rotation(self.config.head_dim, frames, rows=rows, columns=columns)
        return rotation.to(self.device)

    def patchify(self, latents_BFCHW: Tensor) -> Tensor:
        """The patch convolution as one matrix product over patches: [B, N, dim]."""
        _, patch_h, patch_w = self.config.patch_size
        batch, frames, channels, height, width = latents_BFCHW.shape
        patches = latents_BFCHW.reshape(batch, frames, channels, height // patch_h, patch_h, width // patch_w, patch_w)
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(1, 3)
        conv = self.patch_embedding
        x_BNC = F.linear(patches.to(self.dtype), conv.weight.flatten(1), conv.bias)
        if self.config.learned_position is None:
            return x_BNC
        return (x_BNC.view(batch, frames, -1, self.config.dim) + self.pos_embed).flatten(1, 2)

    def unpatchify(self, out_BNP: Tensor, rows: int, columns: int) -> Tensor:
        """[B, F, out_channels, H, W] out of what the head gives for each token."""
        _, patch_h, patch_w = self.config.patch_size
        batch = out_BNP.shape[0]
        out = out_BNP.reshape(batch, -1, rows, columns, patch_h, patch_w, self.config.out_channels)
        return out.permute(0, 1, 6, 2, 4, 3, 5).reshape(batch, -1, out.shape[-1], rows * patch_h, columns * patch_w)


def modulate(x_BNC: Tensor, shift_BFC: Tensor, scale_BFC: Tensor, eps: float) -> Tensor:
    """LayerNorm without weights, scaled and shifted frame by frame."""
    normed = _by_frame(F.layer_norm(x_BNC, (x_BNC.shape[-1],), eps=eps), shift_BFC.shape[1])
    return (normed * (1 + scale_BFC[:, :, None]) + shift_BFC[:, :, None]).flatten(1, 2)


def gated(x_BNC: Tensor, update_BNC: Tensor, gate_BFC: Tensor) -> Tensor:
    """The residual, with a gate for each frame."""
    update = _by_frame(update_BNC, gate_BFC.shape[1]) * gate_BFC[:, :, None]
    return x_BNC + update.flatten(1, 2)


def _by_frame(x_BNC: Tensor, frames: int) -> Tensor:
    """[B, F, S, C], or [B, 1, N, C] where one vector serves all frames."""
    return x_BNC.view(x_BNC.shape[0], frames, -1, x_BNC.shape[-1])


def sinusoid(timestep: Tensor, dim: int) -> Tensor:
    """cos and sin of t x 10000^(-i / (dim/2)), cosines first, in float64: [..., dim]."""
    half = dim // 2
    frequencies = 10_000.0 ** (-torch.arange(half, dtype=torch.float64, device=timestep.device) / half)
    angles = timestep.double()[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
