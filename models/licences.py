"""Licences that have to be agreed to before weights are fetched or loaded, and the record of those that were.

The record lies in the model folder, beside the files it is about; who agreed is not in it. Invariant: what cannot be
read counts as not agreed to. Knows nothing of what a licence says.
"""

import json
import os
from pathlib import Path
from typing import Final

from models.errors import PresetError
from models.presets import Licence, Preset

RECORD: Final = "accepted-licences.json"
NOT_ACCEPTED: Final = "licence_not_accepted"


def accepted(licence: Licence, model_dir: Path) -> bool:
    """Whether a licence needs no agreement or was agreed to for this folder."""
    return not licence.accept_required or _entry(licence) in _read(model_dir)


def accept(licence: Licence, model_dir: Path) -> None:
    """Record that a licence is agreed to. Raises OSError where the folder cannot be written."""
    model_dir.mkdir(parents=True, exist_ok=True)
    entries = _read(model_dir)
    if _entry(licence) in entries:
        return
    beside = model_dir / f"{RECORD}.{os.getpid()}.tmp"
    beside.write_text(json.dumps([*entries, _entry(licence)], indent=1) + "\n", encoding="utf-8")
    os.replace(beside, model_dir / RECORD)


def require_accepted(preset: Preset, model_dir: Path) -> None:
    """Raises PresetError for a licence that is yet to be agreed to."""
    licence = preset.licence
    if not accepted(licence, model_dir):
        use = "any use" if licence.commercial else "non-commercial use only"
        message = (
            f"the weights of {preset.name} are under {licence.name} ({use}; {licence.url}), which has to be agreed to"
            f" first: longtake download {preset.name} --accept-licence"
        )
        raise PresetError(message, field="accept_licence", code=NOT_ACCEPTED)


def _entry(licence: Licence) -> dict[str, str]:
    return {"name": licence.name, "url": licence.url}


def _read(model_dir: Path) -> list[object]:
    try:
        entries = json.loads((model_dir / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return entries if isinstance(entries, list) else []
