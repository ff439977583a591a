"""The engine as a command line asks for it: a preset by name, placed on a device.

Knows how to load and nothing of what the engine is then used for.
"""

from typing import Protocol

import torch

from models.generator import Generator
from models.load import load_generator
from service.commands.options import OptionError


class EngineOptions(Protocol):
    """The options that `generate` and `bench` share."""

    @property
    def threads(self) -> int: ...
    @property
    def random_weights(self) -> bool: ...
    @property
    def device(self) -> str: ...


def load_engine(preset: str, options: EngineOptions) -> Generator:
    """Load it. Raises EngineError, or OptionError for a device that is not there."""
    check_device(options.device)
    return load_generator(
        preset, threads=options.threads, random_weights=options.random_weights, device=options.device
    )


def check_device(name: str) -> None:
    """Raises OptionError unless torch knows the device and this machine has it."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        message = f"expected a device of this machine, such as cpu, not {name!r}: {reason}"
        raise OptionError(message, code="device_invalid", field="device") from error
