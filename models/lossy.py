"""Changes of the computation that make it quicker or smaller, and its pictures others: all off by default.

What is asked for, what it does to a preset, and how it is told in the numerics fingerprint. A model that was trained
for one of them has it in its preset already. Knows no weights, no stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, cast

from cache.kinds import CACHE_KINDS, CacheKind
from cache.window import WindowError
from models.errors import ConfigError
from models.presets import Preset


@dataclass(frozen=True, slots=True, kw_only=True)
class Lossy:
    """What is asked for."""

    steps: tuple[int, ...] = ()
    """Denoising steps in place of the preset's."""
    window_frames: int | None = None
    """Latent frames that attention sees, in place of the preset's."""
    reuse_last_pass: bool = False
    """Keep the keys and values of the last denoising pass: no clean pass."""
    kv_cache: CacheKind = "full"
    """How keys and values are held."""
    short_heads: int = 0
    """Heads of each layer, those that look back least, that see `short_window` latent frames."""
    short_window: int | None = None
    """None: the sink, the last block and the block in the making."""
    stagger: float = 0.0
    """How much cleaner the first latent frame of a block is told to be than the last: see `SamplerConfig`."""

    def describe(self) -> Mapping[str, str]:
        """For the fingerprint: empty where nothing is changed. Which heads are short, their owner says."""
        facts = {
            "steps": " ".join(map(str, self.steps)),
            "window": str(self.window_frames or ""),
            "context": "last pass" if self.reuse_last_pass else "",
            "kv": "" if self.kv_cache == "full" else self.kv_cache,
            "stagger": str(self.stagger or ""),
        }
        return {name: value for name, value in facts.items() if value}

    def short_frames(self, preset: Preset) -> int:
        """Latent frames that short heads see. Raises ConfigError for a window that cannot be."""
        window = preset.window
        least = window.sink_frames + window.block_frames
        frames = self.short_window or min(least + window.block_frames, window.slots)
        if not least <= frames <= window.slots:
            message = f"short_window must be {least} (sink and block) to {window.slots}, not {frames}"
            raise ConfigError(message, field="short_window")
        return frames


class LossySettings(Protocol):
    """The settings of the service that are about these, from whichever side they come."""

    @property
    def steps(self) -> tuple[int, ...]: ...
    @property
    def window_frames(self) -> int | None: ...
    @property
    def reuse_last_pass(self) -> bool: ...
    @property
    def kv_cache(self) -> str: ...
    @property
    def short_heads(self) -> int: ...
    @property
    def short_window(self) -> int | None: ...
    @property
    def stagger(self) -> float: ...


def lossy_of(settings: LossySettings) -> Lossy:
    """Names and bounds were looked at when the settings were read; `changed` does so again."""
    return Lossy(
        steps=settings.steps,
        window_frames=settings.window_frames,
        reuse_last_pass=settings.reuse_last_pass,
        kv_cache=cast(CacheKind, settings.kv_cache),
        short_heads=settings.short_heads,
        short_window=settings.short_window,
        stagger=settings.stagger,
    )


def changed(preset: Preset, lossy: Lossy) -> Preset:
    """The preset with what of it is changed. Raises ConfigError for what cannot be."""
    if lossy.kv_cache not in CACHE_KINDS:
        message = f"kv_cache must be one of {', '.join(CACHE_KINDS)}, not {lossy.kv_cache!r}"
        raise ConfigError(message, field="kv_cache")
    sampler = replace(
        preset.sampler,
        steps=lossy.steps or preset.sampler.steps,
        reuse_last_pass=lossy.reuse_last_pass or preset.sampler.reuse_last_pass,
        stagger=lossy.stagger or preset.sampler.stagger,
    )
    window = preset.window
    if lossy.window_frames is not None:
        try:
            window = replace(window, window_frames=lossy.window_frames, capacity_frames=None)
        except WindowError as error:
            raise ConfigError(str(error), field=error.field) from error
    preset = replace(preset, sampler=sampler, window=window)
    heads = preset.transformer.num_heads
    if not 0 <= lossy.short_heads < heads:
        message = f"short_heads must be 0 to {heads - 1} of the {heads} heads, not {lossy.short_heads}"
        raise ConfigError(message, field="short_heads")
    if lossy.short_heads:
        lossy.short_frames(preset)
    return preset
