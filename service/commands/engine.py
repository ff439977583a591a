"""The engine as a command line asks for it: a preset by name, placed on a device.

What the command line does not say, the settings of the service do, so that a replay is made by the engine that made
the take. Knows how to load and nothing of what the engine is then used for.
"""

from collections.abc import Mapping
from typing import Protocol

import torch

from models.adapters import parse_adapter
from models.generator import Generator
from models.load import LoadOptions
from models.load import load_engine as load
from service.commands.options import OptionError
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
    """Load it. Raises EngineError, ConfigError, or OptionError for a device that is not there.

    Args:
        settings: of the service that the command line gives other values.
    """
    if options.device != "auto":
        check_device(options.device)
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
    )


def check_device(name: str) -> None:
    """Raises OptionError unless torch knows the device and this machine has it."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        message = f"expected a device of this machine, such as cpu, not {name!r}: {reason}"
        raise OptionError(message, code="device_invalid", field="device") from error
