"""The presets by name: those of this package and those of a folder of the user's own.

Each is a TOML file beside this one or in that folder; the folder may extend what is here but takes no name that is
taken. Invariant: a file that is wrong is refused by name, and never passed over. Knows nothing of devices or weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from models.errors import PresetError
from models.presets.preset import Decoder, DtypeName, Licence, LoraSpec, ModelFile, Preset, Role
from models.presets.reading import PresetFile, build_preset, read_preset_file

__all__ = [
    "DEMO",
    "LONGLIVE_1_3B",
    "PRESETS",
    "SELF_FORCING_1_3B",
    "WAN_14B",
    "Decoder",
    "DtypeName",
    "Licence",
    "LoraSpec",
    "ModelFile",
    "Preset",
    "Role",
    "get_preset",
    "list_presets",
]

HERE: Final = Path(__file__).parent


def _files_in(folder: Path) -> dict[str, PresetFile]:
    files = (read_preset_file(path) for path in sorted(folder.glob("*.toml")))
    return {file.name: file for file in files}


def _build(files: Mapping[str, PresetFile], known: Mapping[str, PresetFile]) -> tuple[Preset, ...]:
    presets = []
    for file in files.values():
        if file.abstract:
            continue
        preset = build_preset(file, known)
        if preset.name != file.name:
            message = f"{file.source}: expected the name of its file, {file.name!r}, as name, got {preset.name!r}"
            raise PresetError(message, field="name")
        presets.append(preset)
    return tuple(presets)


_OWN: Final = _files_in(HERE)
PRESETS: Final = _build(_OWN, _OWN)


def list_presets(preset_dir: Path | None = None) -> tuple[Preset, ...]:
    """All there are, the user's own last. Raises PresetError for a folder or file that is wrong."""
    if preset_dir is None:
        return PRESETS
    if not preset_dir.is_dir():
        raise PresetError(f"expected a folder of presets, {preset_dir} is none", field="preset_dir")
    added = _files_in(preset_dir)
    for name in sorted(added.keys() & _OWN.keys()):
        raise PresetError(f"{added[name].source}: expected a name that is not taken, {name} is", field="name")
    return PRESETS + _build(added, _OWN | added)


def get_preset(name: str, *, preset_dir: Path | None = None) -> Preset:
    """The preset of that name. Raises PresetError, which lists the names there are."""
    presets = list_presets(preset_dir)
    for preset in presets:
        if preset.name == name:
            return preset
    known = ", ".join(preset.name for preset in presets)
    raise PresetError(f"expected a model out of {known}, got {name[:100]!r}", field="model")


DEMO: Final = get_preset("demo")
LONGLIVE_1_3B: Final = get_preset("longlive-1.3b")
SELF_FORCING_1_3B: Final = get_preset("self-forcing-1.3b")
WAN_14B: Final = get_preset("wan-14b")
