"""A preset as a command line names it: looked up among the service's own and the user's, with where its files lie.

Knows the settings and the options that are about presets; reads no files of weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.presets import Preset, get_preset
from service.config import ServiceConfig, load_config, model_folder


class Folders(Protocol):
    """The options that say where presets and their files are."""

    @property
    def model_dir(self) -> Path | None: ...
    @property
    def preset_dir(self) -> Path | None: ...


@dataclass(frozen=True, slots=True)
class NamedPreset:
    preset: Preset
    model_dir: Path
    config: ServiceConfig


def find_preset(name: str, options: Folders, *, settings: Mapping[str, object] | None = None) -> NamedPreset:
    """Flags go before the settings of the service. Raises PresetError or ConfigError.

    Args:
        settings: further ones that the command line gives; those that are None are not given.
    """
    flags = {"model_dir": options.model_dir, "preset_dir": options.preset_dir}
    config = load_config({**(settings or {}), **flags})
    return NamedPreset(get_preset(name, preset_dir=config.preset_dir), model_folder(config), config)
