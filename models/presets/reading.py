"""Presets as they are written down: TOML in, checked values out.

A file is a preset, or `abstract`: what several have in common. `extends` names the one a file is laid over: tables key
by key, files role by role. Every refusal names the file, the key, what was expected and what was found; the keys are
the fields of the dataclasses in preset.py, so nothing is listed twice. Knows no names of presets and reads no weights.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cache.window import WindowError, WindowSpec
from models.config import SamplerConfig, TransformerConfig, Umt5Config, VideoConfig, WanVaeConfig
from models.errors import ConfigError, PresetError
from models.presets.preset import Licence, LoraSpec, ModelFile, Preset
from models.text import WordEncoderConfig
from models.tiny_decoder import TinyDecoderConfig

T = TypeVar("T")
SECTIONS: Final[Mapping[str, type]] = {
    "licence": Licence,
    "transformer": TransformerConfig,
    "window": WindowSpec,
    "sampler": SamplerConfig,
    "video": VideoConfig,
    "text": WordEncoderConfig,
    "umt5": Umt5Config,
    "vae": WanVaeConfig,
    "tiny": TinyDecoderConfig,
    "lora": LoraSpec,
}
REQUIRED_SECTIONS: Final = ("licence", "transformer", "window", "sampler", "video")
OWN_KEYS: Final = frozenset({"name", "title", "unavailable_reason", "extends", "abstract"})
"""What a preset does not take over from the one it extends."""
INTEGER_LIMIT: Final = 2**63


@dataclass(frozen=True, slots=True)
class PresetFile:
    """One file as it was written, not yet laid over what it extends."""

    source: Path
    table: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What others extend it by: the file's name."""
        return self.source.stem

    @property
    def abstract(self) -> bool:
        return self.table.get("abstract") is True


def read_preset_file(source: Path) -> PresetFile:
    """Raises PresetError for a file that cannot be read or is not TOML."""
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{source}: expected a preset, it cannot be read: {error.strerror}"
        raise PresetError(message, field="preset") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PresetError(f"{source}: expected TOML: {error}", field="preset") from error
    for key in ("extends", "abstract"):
        wanted = str if key == "extends" else bool
        if not isinstance(table.get(key, wanted()), wanted):
            raise _refusal(source, key, "a name" if wanted is str else "true or false", table[key])
    return PresetFile(source, table)


def build_preset(file: PresetFile, known: Mapping[str, PresetFile]) -> Preset:
    """The preset of a file, laid over what it extends, which is looked up in `known` by name."""
    table = _flatten(file, known)
    source = file.source
    for name in REQUIRED_SECTIONS:
        if name not in table:
            raise PresetError(f"{source}: expected a table [{name}], there is none", field=name)
    parts: dict[str, Any] = {
        name: read_table(kind, table.pop(name), source=source, at=name) if name in table else None
        for name, kind in SECTIONS.items()
    }
    listed = table.pop("files", [])
    if not isinstance(listed, list):
        raise _refusal(source, "files", "tables [[files]]", listed)
    parts["files"] = tuple(
        read_table(ModelFile, entry, source=source, at=f"files[{number}]") for number, entry in enumerate(listed)
    )
    return _read(Preset, table, source=source, at="", given=parts)


def read_table(kind: type[T], table: object, *, source: Path, at: str) -> T:
    """A dataclass from a table of its fields. `at` is where in the file the table stands."""
    if not isinstance(table, Mapping):
        raise _refusal(source, at, "a table", table)
    return _read(kind, table, source=source, at=f"{at}.", given={})


def _read(kind: type[T], table: Mapping[str, Any], *, source: Path, at: str, given: Mapping[str, Any]) -> T:
    """`given` are fields that are made already; the others are read from the table."""
    hints = get_type_hints(kind)
    values = dict(given)
    for key, value in table.items():
        if key not in hints or key in given:
            known = ", ".join(sorted(hints.keys() - given.keys()))
            raise PresetError(f"{source}: unknown key {at}{key}; expected one of {known}", field=f"{at}{key}")
        values[key] = _value(hints[key], value, source=source, at=f"{at}{key}")
    missing = [name for name in _required(kind) if name not in values]
    if missing:
        raise PresetError(f"{source}: expected a value for {at}{missing[0]}, there is none", field=at + missing[0])
    try:
        return kind(**values)
    except (ConfigError, WindowError) as error:
        raise PresetError(f"{source}: {at}{error}", field=f"{at}{error.field}") from error


def _required(kind: type) -> list[str]:
    known = fields(kind)
    return [field.name for field in known if field.default is MISSING and field.default_factory is MISSING]


def _value(hint: Any, value: object, *, source: Path, at: str) -> object:
    """A value of TOML as the field's type wants it: lists become tuples, whole numbers may stand for others."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return _value(inner, value, source=source, at=at)
    if origin is Literal:
        if value not in arguments:
            raise _refusal(source, at, f"one of {', '.join(map(str, arguments))}", value)
        return value
    if origin is tuple:
        return _tuple(arguments, value, source=source, at=at)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint or (isinstance(value, int) and abs(value) >= INTEGER_LIMIT):
        raise _refusal(source, at, _kind(hint), value)
    return value


def _tuple(arguments: tuple[Any, ...], value: object, *, source: Path, at: str) -> tuple[object, ...]:
    open_ended = len(arguments) == 2 and arguments[1] is ...
    if not isinstance(value, list) or not (open_ended or len(value) == len(arguments)):
        wanted = "a list" if open_ended else f"a list of {len(arguments)}"
        raise _refusal(source, at, wanted, value)
    kinds = [arguments[0]] * len(value) if open_ended else arguments
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_value(kind, item, source=source, at=f"{at}[{number}]") for number, (kind, item) in pairs)


def _flatten(file: PresetFile, known: Mapping[str, PresetFile]) -> dict[str, Any]:
    """The tables of a file and of all it extends, its own last; without the keys that are not handed on."""
    table: dict[str, Any] = {}
    chain = list(_chain(file, known))
    for ancestor in reversed(chain[1:]):
        table = _lay_over(table, {key: value for key, value in ancestor.table.items() if key not in OWN_KEYS})
    own = {key: value for key, value in file.table.items() if key not in ("extends", "abstract")}
    return _lay_over(table, own)


def _chain(file: PresetFile, known: Mapping[str, PresetFile]) -> Iterator[PresetFile]:
    seen: list[str] = []
    while True:
        yield file
        seen.append(file.name)
        base = file.table.get("extends")
        if base is None:
            return
        if base in seen or base not in known:
            expected = "another preset than itself" if base in seen else f"one of {', '.join(sorted(known))}"
            raise _refusal(file.source, "extends", expected, base)
        file = known[base]


def _lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            merged[key] = _lay_over(under, value)
        elif key == "files" and isinstance(under, list) and isinstance(value, list):
            merged[key] = _lay_files_over(under, value)
        else:
            merged[key] = value
    return merged


def _lay_files_over(below: list[Any], above: list[Any]) -> list[Any]:
    """A file takes the place of the one below it with its role; parts are added."""
    roles = {entry.get("role") for entry in above if isinstance(entry, Mapping)} - {"part"}
    return [entry for entry in below if not isinstance(entry, Mapping) or entry.get("role") not in roles] + above


def _kind(hint: Any) -> str:
    return {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}.get(hint, str(hint))


def _refusal(source: Path, key: str, expected: str, found: object) -> PresetError:
    text = repr(found)
    shown = text if len(text) <= 100 else text[:100] + "..."
    return PresetError(f"{source}: expected {expected} as {key}, got {shown}", field=key)
