"""The engines that an evaluation compares: one preset, with another window, other steps, other numbers, or deaf.

Everything goes through the product's own loading, one thread an engine; knows no takes. Invariant: a variant that asks
for nothing is the preset as it is served.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from models.config import TRAINING_TIMESTEPS
from models.errors import ConfigError
from models.generator import Generator
from models.load import LoadOptions, build_generator
from models.presets import DEMO, Preset, get_preset
from models.quantize import Quantize
from models.vae import LinearCodec


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the weights come from: a preset, with other weights or another shift of its schedule if asked."""

    preset: str
    options: LoadOptions = field(default_factory=lambda: LoadOptions(threads=1))
    weights: Path | None = None
    shift: float | None = None

    def resolve(self) -> Preset:
        """The preset as a value. Raises PresetError or ConfigError."""
        preset = get_preset(self.preset, preset_dir=self.options.preset_dir)
        if self.weights is not None:
            preset = replace(preset, weights=str(self.weights.resolve()))
        if self.shift is not None:
            preset = replace(preset, sampler=replace(preset.sampler, shift=self.shift))
        return preset

    @property
    def draws_the_world(self) -> bool:
        """Whether the detectors know what is in the pictures."""
        return self.preset == DEMO.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How an engine differs from the preset; None where it does not."""

    window_frames: int | None = None
    sink_frames: int | None = None
    steps: int | None = None
    """Denoising steps, evenly spaced over the schedule's nominal 1000."""
    quantize: Quantize | None = None
    deaf: bool = False
    """Whether all cross-attentions say nothing: what is then right is chance."""

    @property
    def name(self) -> str:
        """Short, for file names and tables."""
        parts = [
            None if self.window_frames is None else f"window {self.window_frames}",
            None if self.sink_frames is None else f"sink {self.sink_frames}",
            None if self.steps is None else f"{self.steps} steps",
            self.quantize,
            "deaf" if self.deaf else None,
        ]
        return " ".join(part for part in parts if part) or "as served"


def even_steps(count: int) -> tuple[int, ...]:
    """`count` nominal steps from 1000 down: 4 are 1000, 750, 500, 250."""
    return tuple(round(TRAINING_TIMESTEPS * (count - step) / count) for step in range(count))


def vary(preset: Preset, variant: Variant) -> Preset:
    """The preset of a variant. Raises ConfigError or WindowError where that cannot work."""
    window, sampler = preset.window, preset.sampler
    if variant.window_frames is not None:
        window = replace(window, window_frames=variant.window_frames)
    if variant.sink_frames is not None:
        window = replace(window, sink_frames=variant.sink_frames)
    if variant.steps is not None:
        sampler = replace(sampler, steps=even_steps(variant.steps))
    return replace(preset, window=window, sampler=sampler)


def identity_of(source: Source, variant: Variant, *, fingerprint: str) -> str:
    """All that decides on a take's pictures beside the take; the fingerprint names weights, decoder and numerics.

    Not how the variant is called: four steps are the same engine as the preset's own four.
    """
    preset = vary(source.resolve(), variant)
    return f"{preset.name} {preset.window} {preset.sampler} {variant.deaf} {fingerprint}"


def build_engine(source: Source, variant: Variant) -> Generator:
    """Load it. Raises what loading raises."""
    options = source.options
    if variant.quantize is not None:
        options = replace(options, quantize=variant.quantize)
    generator = build_generator(vary(source.resolve(), variant), options)
    if variant.deaf:
        silence(generator)
    return generator


@torch.no_grad()
def silence(generator: Generator) -> None:
    """Cut the text off: the outputs of all cross-attentions become zero, and stay so."""
    for block in generator.parts.passes.transformer.blocks:
        for parameter in block.cross_attn.o.parameters():
            parameter.zero_()


def codec_of(generator: Generator) -> LinearCodec:
    """The codec with which rendered pictures are degraded. Raises ConfigError for a model without one."""
    decoder = generator.parts.decoder
    if not isinstance(decoder, LinearCodec):
        raise ConfigError(f"expected a linear codec to calibrate detectors with, got {type(decoder).__name__}")
    return decoder
