"""What `longtake doctor` looks at beside the model: the store, room on its disk, and who watches the GPU.

Knows the settings and the store's folder; nothing of presets or engines. Invariant: looking changes nothing, and takes
no lock that a service would want.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from models.diagnosis import Check
from service.config import ServiceConfig, store_folder
from service.errors import ServiceError
from service.store.database import DATABASE
from service.store.migrate import newest, stored_version


def premises(config: ServiceConfig) -> Iterator[Check]:
    """The checks, in the order in which serving meets them."""
    folder = store_folder(config)
    yield _store(folder, config)
    yield _room(folder, config)
    if config.device != "cpu" and config.gpu_watch:
        yield _gpu_watch()


def _store(folder: Path, config: ServiceConfig) -> Check:
    place = _existing(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        return Check("store", "fails", (f"{folder} cannot be written to: store_dir names another place",))
    if config.store_url is None and not (folder / DATABASE).is_file():
        return Check("store", "ok", (f"{folder}: made when the service starts",))
    try:
        found = stored_version(folder, busy_timeout=config.store_busy_timeout, url=config.store_url)
    except ServiceError as error:
        return Check("store", "fails", (" ".join(str(error).split()),))
    if found is not None and found > newest():
        message = f"it is of version {found}; this program reads up to {newest()}"
        return Check("store", "fails", (message, "use the newer program, or its `longtake migrate --back`"))
    said = "as this program has it" if found == newest() else f"brought to {newest()} when the service starts"
    return Check("store", "ok", (f"{folder}: version {found or 'none'}, {said}",))


def _room(folder: Path, config: ServiceConfig) -> Check:
    free = shutil.disk_usage(_existing(folder)).free
    said = f"{free / 2**30:.1f} GiB free, {config.store_max_bytes / 2**30:.1f} GiB meant for latents (store_max_bytes)"
    # What is there already counts towards both, so that less room is no proof of a fault.
    return Check("room", "ok" if free >= config.store_max_bytes else "unknown", (said,))


def _gpu_watch() -> Check:
    if importlib.util.find_spec("pynvml") is None:
        return Check("gpu faults", "unknown", ("not watched: the package nvidia-ml-py (extra `gpu`) is not installed",))
    return Check("gpu faults", "ok", ("watched, where the driver's library lets it",))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return place
