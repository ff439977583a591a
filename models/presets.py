"""The named models: sizes, schedule, picture, licence. Data, checked to fit together when it is made.

Knows nothing of devices or of how files are read. A preset whose weights cannot be loaded yet still has its
architecture, so that it runs with random ones.
"""

from dataclasses import dataclass
from typing import Final, Literal

from cache.window import WindowSpec
from models.config import LATENT_STRIDE_TIME, SamplerConfig, TransformerConfig, VideoConfig
from models.errors import ConfigError, PresetError
from models.text import WordEncoderConfig

Decoder = Literal["linear", "tiny"]
DtypeName = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """Under which the weights may be used; `commercial` says whether for profit, too."""

    name: str
    url: str
    commercial: bool


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
    text: WordEncoderConfig | None
    """Sizes of the word encoder (its vocabulary is with the weights); None for an encoder from outside."""
    dtype: DtypeName
    licence: Licence
    suggested_prompts: tuple[str, ...]
    weights: str | None = None
    """File of weights, relative to this package."""
    unavailable_reason: str = ""
    """Why it cannot be served with its own weights; empty if it can."""

    def __post_init__(self) -> None:
        channels = (self.transformer.in_channels, self.transformer.out_channels)
        self._check("transformer", channels, expected=(self.video.latent_channels,) * 2)
        grid = self.transformer.token_grid(self.video.latent_height, self.video.latent_width)
        self._check("learned_position", self.transformer.learned_position or grid, expected=grid)
        if self.text is not None:
            sizes = (self.transformer.text_len, self.transformer.text_dim)
            self._check("text", (self.text.text_len, self.text.dim), expected=sizes)

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

    def require_available(self) -> None:
        """Raises PresetError if it has no weights that can be loaded."""
        if not self.available:
            message = f"model {self.name} cannot be served with its weights yet: {self.unavailable_reason}"
            raise PresetError(message, field="model", code="model_unavailable")


APACHE: Final = Licence(name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0", commercial=True)

DEMO: Final = Preset(
    name="demo",
    title="Demo: a small world of six scenes, three times of day and one moving object",
    transformer=TransformerConfig(
        dim=192,
        ffn_dim=576,
        num_layers=6,
        num_heads=3,
        text_dim=96,
        text_len=24,
        in_channels=64,
        out_channels=64,
        freq_dim=128,
        prediction="edm_x0",
        learned_position=(6, 6),
    ),
    window=WindowSpec(window_frames=12, sink_frames=3, block_frames=3, positions="relative"),
    sampler=SamplerConfig(steps=(1000, 750, 500, 250), shift=3.0),
    video=VideoConfig(width=96, height=96, fps=16, latent_channels=64),
    decoder="linear",
    text=WordEncoderConfig(dim=96, text_len=24, heads=3, layers=1),
    dtype="float32",
    licence=APACHE,
    suggested_prompts=(
        "a red ball bounces over a grassy meadow by day",
        "a yellow star circles over the sea at sunset",
        "a purple box sways in the city at night",
        "an orange ball rests in the snow by day",
        "a blue star bounces in the desert at sunset",
        "a green box circles in the forest at night",
    ),
    weights="demo/demo.safetensors",
)

LONGLIVE_1_3B: Final = Preset(
    name="longlive-1.3b",
    title="LongLive on Wan2.1, 1.3 billion parameters",
    transformer=TransformerConfig(
        dim=1536, ffn_dim=8960, num_layers=30, num_heads=12, text_dim=4096, text_len=512
    ),
    window=WindowSpec(),
    sampler=SamplerConfig(steps=(1000, 750, 500, 250), shift=5.0),
    video=VideoConfig(width=832, height=480),
    decoder="tiny",
    text=None,
    dtype="bfloat16",
    licence=Licence(
        name="CC-BY-NC-SA-4.0", url="https://creativecommons.org/licenses/by-nc-sa/4.0/", commercial=False
    ),
    suggested_prompts=(
        "A lighthouse keeper climbs a spiral staircase at dawn, warm light through small windows.",
        "The lighthouse keeper opens the door to the gallery, wind in her coat, a grey sea below.",
        "Fog rolls in and the great lamp begins to turn, its beam sweeping through the mist.",
    ),
    unavailable_reason="weights are loaded in a later release",
)

WAN_14B: Final = Preset(
    name="wan-14b",
    title="The architecture of Wan2.1, 14 billion parameters",
    transformer=TransformerConfig(
        dim=5120, ffn_dim=13824, num_layers=40, num_heads=40, text_dim=4096, text_len=512
    ),
    window=WindowSpec(),
    sampler=SamplerConfig(steps=(1000, 750, 500, 250), shift=5.0),
    video=VideoConfig(width=832, height=480),
    decoder="tiny",
    text=None,
    dtype="bfloat16",
    licence=APACHE,
    suggested_prompts=LONGLIVE_1_3B.suggested_prompts,
    unavailable_reason="weights are loaded in a later release",
)

PRESETS: Final = (DEMO, LONGLIVE_1_3B, WAN_14B)


def get_preset(name: str) -> Preset:
    """The preset of that name. Raises PresetError, which lists the names there are."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    known = ", ".join(preset.name for preset in PRESETS)
    raise PresetError(f"expected a model out of {known}, got {name[:100]!r}", field="model")
