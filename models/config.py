"""Sizes of the model, the sampler and the picture, as frozen values checked when they are made.

Knows nothing of files, devices or presets. Every number that can be derived from another (tokens in a frame,
width of a head) is a property here, so that no other file holds a literal of it.
"""

from dataclasses import dataclass
from typing import Literal

from models.errors import ConfigError

Prediction = Literal["flow", "edm_x0"]
LATENT_STRIDE_TIME = 4
"""Frames that one latent frame stands for (all codecs of this family)."""
TRAINING_TIMESTEPS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """One block-causal diffusion transformer; the defaults are those of Wan2.1's family, not of one size."""

    dim: int
    ffn_dim: int
    num_layers: int
    num_heads: int
    text_dim: int
    text_len: int
    in_channels: int = 16
    out_channels: int = 16
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6
    prediction: Prediction = "flow"
    """What the output means: `flow` is noise - x0; `edm_x0` is the network part of a preconditioned x0."""
    learned_position: tuple[int, int] | None = None
    """Token grid (rows, columns) of an additive learned position in a frame; None for none, as in Wan."""

    def __post_init__(self) -> None:
        sizes = ("dim", "ffn_dim", "num_layers", "num_heads", "text_dim", "text_len", "in_channels", "out_channels")
        for name in (*sizes, "freq_dim"):
            _require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        _require(self.dim % self.num_heads == 0, "num_heads", f"a divisor of dim={self.dim}", self.num_heads)
        _require(self.head_dim % 2 == 0, "num_heads", "an even width of a head", self.head_dim)
        _require(self.freq_dim % 2 == 0, "freq_dim", "an even number", self.freq_dim)
        one_frame = self.patch_size[0] == 1 and min(self.patch_size) > 0
        _require(one_frame, "patch_size", "one latent frame in time and positive", self.patch_size)

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    def tokens_per_frame(self, height: int, width: int) -> int:
        """Tokens of one latent frame of `height` x `width` latent pixels."""
        rows, columns = self.token_grid(height, width)
        return rows * columns

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens in one latent frame. Raises ConfigError unless patches tile it."""
        _, patch_h, patch_w = self.patch_size
        _require(height > 0 and height % patch_h == 0, "height", f"a multiple of {patch_h} latent pixels", height)
        _require(width > 0 and width % patch_w == 0, "width", f"a multiple of {patch_w} latent pixels", width)
        return height // patch_h, width // patch_w


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """The few-step schedule: nominal steps of 1000 that `shift` warps (longlive-spec: 1000, 750, 500, 250 and 5)."""

    steps: tuple[int, ...] = (1000, 750, 500, 250)
    shift: float = 5.0
    context_timestep: float = 0.0
    """Timestep of the clean pass and of a recache."""
    reuse_last_pass: bool = False
    """Keep the keys and values of a block's last denoising pass instead of running a clean pass."""
    stagger: float = 0.0
    """How much cleaner than the last one the first latent frame of a block is told to be in all steps but the first;
    0 for one timestep for all, as published."""

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.steps, self.steps[1:], strict=False))
        in_range = all(0 < step <= TRAINING_TIMESTEPS for step in self.steps)
        _require(bool(self.steps) and falling and in_range, "steps", "falling numbers in 1..1000", self.steps)
        _require(0 < self.shift < float("inf"), "shift", "a positive number", self.shift)
        _require(0 <= self.context_timestep < TRAINING_TIMESTEPS, "context_timestep", "0..999", self.context_timestep)
        _require(0 <= self.stagger < 1, "stagger", "at least 0 and less than 1", self.stagger)

    @property
    def passes(self) -> int:
        """Of one block, the clean pass among them where there is one."""
        return len(self.steps) + (0 if self.reuse_last_pass else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoConfig:
    """The picture: frames of `width` x `height` pixels at `fps`, and how many latent pixels stand for them."""

    width: int
    height: int
    fps: int = 16
    latent_channels: int = 16
    latent_stride: int = 8
    """Pixels along each side that one latent pixel stands for."""

    def __post_init__(self) -> None:
        for name in ("fps", "latent_channels", "latent_stride"):
            _require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        for name in ("width", "height"):
            value = getattr(self, name)
            _require(value > 0 and value % self.latent_stride == 0, name, f"a multiple of {self.latent_stride}", value)

    @property
    def latent_height(self) -> int:
        return self.height // self.latent_stride

    @property
    def latent_width(self) -> int:
        return self.width // self.latent_stride


@dataclass(frozen=True, slots=True, kw_only=True)
class Umt5Config:
    """The encoder half of a UMT5; the defaults are UMT5-XXL, which the published presets read prompts with."""

    vocabulary: int = 256_384
    dim: int = 4096
    heads: int = 64
    head_dim: int = 64
    ffn_dim: int = 10_240
    layers: int = 24
    buckets: int = 32
    """Buckets of the relative position, both directions together."""
    max_distance: int = 128
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("vocabulary", "dim", "heads", "head_dim", "ffn_dim", "layers", "buckets", "max_distance"):
            _require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class WanVaeConfig:
    """The causal VAE of Wan2.1; the defaults are the published one (longlive-spec 7.1, 7.2)."""

    dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    mean: tuple[float, ...] = (
        *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
        *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
    )
    """Of each raw latent channel; what the transformer sees is (raw - mean) / std."""
    std: tuple[float, ...] = (
        *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
        *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
    )

    def __post_init__(self) -> None:
        _require(min(self.dim, self.z_dim, self.num_res_blocks, *self.dim_mult) > 0, "vae", "positive sizes", self)
        for name in ("mean", "std"):
            found = getattr(self, name)
            _require(len(found) == self.z_dim, name, f"{self.z_dim} numbers, one a channel", found)
        _require(min(self.std) > 0, "std", "positive numbers", self.std)


def _require(holds: bool, field: str, expected: str, found: object) -> None:
    if not holds:
        raise ConfigError(f"{field} must be {expected}, not {found!r}", field=field)
