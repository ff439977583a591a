"""Where a setting's value comes from.

It knows the names of the settings and nothing of what they are used for. Invariant: a value comes from, in this order,
a flag, the environment (`LONGTAKE_...`), the settings file, the default; an unknown name is an error wherever it comes
from, and no other file reads the environment.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from service.config.settings import ServiceConfig
from service.errors import ConfigError

ENV_PREFIX = "LONGTAKE_"
CONFIG_FILE_VARIABLE = "LONGTAKE_CONFIG"
# Variables with our prefix that are not settings of the service.
_OTHER_VARIABLES = frozenset({CONFIG_FILE_VARIABLE, "LONGTAKE_REFERENCE"})


def load_config(
    flags: Mapping[str, object] | None = None,
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> ServiceConfig:
    """The settings from flags, environment, file and defaults, in this order.

    Args:
        flags: settings given by name; those that are None were not given.
        file: a TOML file; without one, the file that `LONGTAKE_CONFIG` names, if any.
        environment: the process's own by default.

    Raises:
        ConfigError: a name is unknown, a value is wrong, or the file cannot be read.
    """
    variables = os.environ if environment is None else environment
    if file is None and variables.get(CONFIG_FILE_VARIABLE):
        file = Path(variables[CONFIG_FILE_VARIABLE])
    from_file = _read_file(file) if file else {}
    _refuse_unknown(from_file, f"file {file}")
    from_environment = {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in variables.items()
        if name.startswith(ENV_PREFIX) and name not in _OTHER_VARIABLES
    }
    _refuse_unknown(from_environment, f"environment ({ENV_PREFIX}...)")
    from_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    _refuse_unknown(from_flags, "flags")
    try:
        return ServiceConfig.model_validate({**from_file, **from_environment, **from_flags})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"setting {name} is {first['input']!r}: {first['msg']}") from None


def store_folder(config: ServiceConfig, *, environment: Mapping[str, str] | None = None) -> Path:
    """Where the store lies: where the setting says, else in the user's folder for data."""
    return _data_folder(environment) if config.store_dir is None else config.store_dir


def model_folder(config: ServiceConfig, *, environment: Mapping[str, str] | None = None) -> Path:
    """Where the files of presets lie: where the setting says, else in the user's folder for data."""
    return _data_folder(environment) / "models" if config.model_dir is None else config.model_dir


def _data_folder(environment: Mapping[str, str] | None) -> Path:
    variables = os.environ if environment is None else environment
    data = variables.get("XDG_DATA_HOME", "")
    # A relative path there counts as none, as the directory specification says.
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "longtake"


def _read_file(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"settings file {file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {file} is not TOML: {error}") from error


def _refuse_unknown(names: Iterable[str], source: str) -> None:
    unknown = sorted(set(names) - set(ServiceConfig.model_fields))
    if unknown:
        known = ", ".join(ServiceConfig.model_fields)
        raise ConfigError(f"unknown setting {unknown[0]} in {source}; expected one of {known}")
