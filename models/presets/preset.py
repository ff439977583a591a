"""What a preset is: sizes, schedule, picture, files and licence of one model. Checked to fit together when it is made.

Knows nothing of devices, of how presets are written down (reading.py) or of how files of weights are read. A preset
whose files are not there still has its architecture, so that it runs with random weights.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from cache.window import WindowSpec
from models.config import (
    LATENT_STRIDE_TIME,
    SamplerConfig,
    TransformerConfig,
    Umt5Config,
    VideoConfig,
    WanVaeConfig,
)
from models.errors import ConfigError, PresetError
from models.text import WordEncoderConfig
from models.tiny_decoder import TinyDecoderConfig

Decoder = Literal["linear", "refined", "tiny", "full"]
DtypeName = Literal["float32", "bfloat16"]
Role = Literal["transformer", "lora", "text_encoder", "tokenizer", "vae", "tiny_decoder", "part"]
"""What a file is opened as. A `part` is opened through another file: the shards of an index."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """Under which the weights may be used; `commercial` says whether for profit, too."""

    name: str
    url: str
    commercial: bool
    accept_required: bool = False
    """Whether whoever fetches the files has to say that they agree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of a preset: where it comes from, where it lies, and how it is told to be whole.

    With a `repository` it is fetched from the hub (or from `url`) and lies in a folder of that name, so that presets
    share what they have in common. Without one it is the user's own, and only ever looked for.
    """

    role: Role
    path: str
    """Inside the repository or, without one, under the model folder; absolute only without one."""
    repository: str | None = None
    revision: str | None = None
    url: str | None = None
    """Where it is fetched from if not from the hub."""
    sha256: str | None = None
    size: int | None = None
    key: str | None = None
    """Which dictionary of a training checkpoint holds the weights; the first usual one if not given."""
    licence: str | None = None
    """Of this file, where it is another than the preset's."""

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        inside = bool(parts) and ".." not in parts and not (self.repository and self.path.startswith("/"))
        _require(inside, "path", "a path that stays inside its folder", self.path)
        named = PurePosixPath(self.repository or "a/b").parts
        _require(len(named) == 2 and not {"..", "/"} & set(named), "repository", "OWNER/NAME", self.repository)
        whole = self.sha256 is None or _SHA256.fullmatch(self.sha256) is not None
        _require(whole, "sha256", "64 hexadecimal digits", self.sha256)
        _require(self.size is None or self.size > 0, "size", "a positive number of bytes", self.size)
        secure = self.url is None or self.url.startswith(("https://", "http://127.0.0.1:"))
        _require(secure, "url", "an https address", self.url)
        _require(self.url is None or self.repository is not None, "repository", "a name, beside url", self.repository)

    @property
    def fetched(self) -> bool:
        """Whether it can be downloaded."""
        return self.repository is not None

    @property
    def name(self) -> str:
        """As it is shown: `OWNER/NAME/path`, or the path of a file of the user's own."""
        return self.path if self.repository is None else f"{self.repository}/{self.path}"

    def location(self, model_dir: Path) -> Path:
        return model_dir / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSpec:
    """The low-rank part of the weights: W + alpha / rank x B A, merged when they are loaded."""

    rank: int
    alpha: float

    def __post_init__(self) -> None:
        _require(self.rank > 0, "rank", "a positive number", self.rank)
        _require(self.alpha > 0, "alpha", "a positive number", self.alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One model as it is served."""

    name: str
    title: str
    transformer: TransformerConfig
    window: WindowSpec
    sampler: SamplerConfig
    video: VideoConfig
    decoder: Decoder
    text: WordEncoderConfig | None = None
    """Sizes of the word encoder (its vocabulary is with the weights); None for an encoder from outside."""
    umt5: Umt5Config | None = None
    """Sizes of a UMT5 encoder, beside which there is no word encoder."""
    vae: WanVaeConfig | None = None
    """Of the full decoder, where the preset has one."""
    tiny: TinyDecoderConfig | None = None
    """Of the tiny decoder, where it is not of the published size."""
    lora: LoraSpec | None = None
    dtype: DtypeName
    licence: Licence
    suggested_prompts: tuple[str, ...]
    files: tuple[ModelFile, ...] = ()
    weights: str | None = None
    """A file of this package, relative to `models`, that holds all parts; instead of `files`."""
    unavailable_reason: str = ""
    """Why it cannot be served with its own weights; empty if it can."""

    def __post_init__(self) -> None:
        channels = (self.transformer.in_channels, self.transformer.out_channels)
        self._check("transformer", channels, expected=(self.video.latent_channels,) * 2)
        grid = self.transformer.token_grid(self.video.latent_height, self.video.latent_width)
        self._check("learned_position", self.transformer.learned_position or grid, expected=grid)
        sizes = (self.transformer.text_len, self.transformer.text_dim)
        if self.text is not None:
            self._check("text", (self.text.text_len, self.text.dim), expected=sizes)
        if self.umt5 is not None:
            self._check("umt5", (self.umt5.dim,), expected=sizes[1:])
        self._check("text", (bool(self.text and self.umt5),), expected=(False,))
        for codec, found in (("vae", self.vae and self.vae.z_dim), ("tiny", self.tiny and self.tiny.latent_channels)):
            self._check(codec, (found or self.video.latent_channels,), expected=channels[:1])
        self._check_files()

    def _check_files(self) -> None:
        roles = [file.role for file in self.files if file.role != "part"]
        twice = sorted({role for role in roles if roles.count(role) > 1})
        if twice:
            raise ConfigError(f"preset {self.name}: expected one file as {twice[0]}, got more", field="files")
        if ("lora" in roles) != (self.lora is not None):
            there = "a file" if "lora" in roles else "sizes"
            message = f"preset {self.name}: expected a file and sizes of a lora together, got only {there}"
            raise ConfigError(message, field="lora")
        if self.files and self.weights:
            raise ConfigError(f"preset {self.name}: expected files or weights, got both", field="weights")

    def _check(self, field: str, found: tuple[int, ...], *, expected: tuple[int, ...]) -> None:
        if found != expected:
            message = f"preset {self.name}: expected {field} of sizes {expected}, got {found}"
            raise ConfigError(message, field=field)

    @property
    def available(self) -> bool:
        """Whether it can be served with its own weights."""
        return not self.unavailable_reason

    @property
    def width(self) -> int:
        return self.video.width

    @property
    def height(self) -> int:
        return self.video.height

    @property
    def fps(self) -> int:
        return self.video.fps

    @property
    def steps(self) -> tuple[int, ...]:
        return self.sampler.steps

    @property
    def block_frames(self) -> int:
        """Latent frames of a block."""
        return self.window.block_frames

    @property
    def frames_per_block(self) -> int:
        """Frames that a block becomes; the first of a scene may be shorter, as the decoder says."""
        return self.window.block_frames * LATENT_STRIDE_TIME

    def file(self, role: Role) -> ModelFile | None:
        """The file of that role, which only parts share."""
        return next((file for file in self.files if file.role == role), None)

    def require_file(self, role: Role) -> ModelFile:
        """Raises PresetError for a preset that names none."""
        found = self.file(role)
        if found is None:
            named = ", ".join(file.role for file in self.files) or "no files"
            raise PresetError(f"model {self.name}: expected a file as {role}, it names {named}", field="files")
        return found

    def require_available(self) -> None:
        """Raises PresetError if it has no weights that can be loaded."""
        if not self.available:
            message = f"model {self.name} cannot be served with its weights yet: {self.unavailable_reason}"
            raise PresetError(message, field="model", code="model_unavailable")


def _require(holds: bool, field: str, expected: str, found: object) -> None:
    if not holds:
        raise ConfigError(f"{field} must be {expected}, not {found!r}", field=field)
