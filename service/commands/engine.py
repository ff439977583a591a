"""The engine as a command line asks for it: a preset by name, placed on a device.

What the command line does not say, the settings of the service do, so that a replay is made by the engine that made
the take. Knows how to load and nothing of what the engine is then used for.
"""

from collections.abc import Mapping
from typing import Protocol

from models.adapters import parse_adapter
from models.generator import Generator
from models.load import LoadOptions
from models.load import load_engine as load
from models.lossy import lossy_of
from models.speed import speed_of
from service.config import load_config, model_folder


class EngineOptions(Protocol):
    """The options that all commands with an engine share."""

    @property
    def threads(self) -> int: ...
    @property
    def random_weights(self) -> bool: ...
    @property
    def device(self) -> str: ...


def load_engine(preset: str, options: EngineOptions, *, settings: Mapping[str, object] | None = None) -> Generator:
    """Load it. Raises EngineError or ConfigError.

    Args:
        settings: of the service that the command line gives other values.
    """
    return load(preset, load_options(options, settings or {}))


def load_options(options: EngineOptions, settings: Mapping[str, object]) -> LoadOptions:
    """Flags, then environment and file, then defaults. Raises ConfigError."""
    config = load_config(dict(settings))
    return LoadOptions(
        device=options.device,
        threads=options.threads,
        kernel=config.attention,
        random_seed=0 if options.random_weights else None,
        model_dir=model_folder(config),
        preset_dir=config.preset_dir,
        decoder=config.decoder,
        quantize=config.quantize,
        adapters=tuple(parse_adapter(text) for text in config.adapters),
        memory_budget_bytes=config.memory_budget_bytes,
        speed=speed_of(config),
        lossy=lossy_of(config),
    )
