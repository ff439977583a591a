"""`longtake backup`, `restore` and `migrate`: a store copied, put back, and brought to another version.

Knows the store's folder and the terminal; nothing of sessions. Invariant: a backup may be made while a service uses
the store; restore and migrate want it for themselves.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import typer

from service.commands.store_options import BackupOptions, MigrateOptions, RestoreOptions, StoreOptions
from service.config import ServiceConfig, load_config, store_folder
from service.errors import ConfigError
from service.store.backup import Backup, check_backup, make_backup, restore_backup
from service.store.database import FolderLock, for_writing, lock_schema, open_database
from service.store.migrate import prepare, step_back, version_of


def run_backup(options: BackupOptions) -> None:
    """Raises StoreFailed or BackupInvalid."""
    made = check_backup(options.folder) if options.check else make_backup(_own_folder(options), options.folder)
    _say(options.json, what="whole" if options.check else "made", folder=options.folder, backup=made)


def run_restore(options: RestoreOptions) -> None:
    """Raises BackupInvalid, StoreFailed or StoreVersionUnknown."""
    store = _own_folder(options)
    _say(options.json, what="restored", folder=store, backup=restore_backup(options.folder, store))


def run_migrate(options: MigrateOptions) -> None:
    """Raises StoreVersionUnknown, or ConfigError while a service uses the store."""
    config = _config(options)
    folder = store_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder) if config.store_url is None else None
    engine = for_writing(open_database(folder, busy_timeout=config.store_busy_timeout, url=config.store_url))
    try:
        with engine.begin() as connection:
            lock_schema(connection)
            before = version_of(connection)
            if options.back:
                step_back(connection)
            else:
                prepare(connection)
            now = version_of(connection)
    finally:
        engine.dispose()
        if lock is not None:
            lock.release()
    _print(options.json, {"store": str(folder), "before": before, "version": now}, f"{folder}: {before} -> {now}")


def _config(options: StoreOptions) -> ServiceConfig:
    """The settings; a folder that was given has its own database."""
    config = load_config({"store_dir": options.store})
    return config if options.store is None else config.model_copy(update={"store_url": None})


def _own_folder(options: StoreOptions) -> Path:
    """Raises ConfigError where the database is not in the folder."""
    config = _config(options)
    if config.store_url is not None:
        raise ConfigError("the store is in Postgres (store_url): copy it with pg_dump, and store_dir as any folder")
    return store_folder(config)


def _say(as_json: bool, *, what: str, folder: Path, backup: Backup) -> None:
    document = {
        what: str(folder),
        "version": backup.store_version,
        "files": len(backup.files),
        "bytes": backup.bytes,
        "incomplete": list(backup.incomplete),
    }
    _print(
        as_json,
        document,
        f"{what}: {folder}, version {backup.store_version}, {len(backup.files)} files, {backup.bytes} bytes",
    )
    if backup.incomplete and not as_json:
        typer.echo(f"latents are missing, here and in the store, of: {', '.join(backup.incomplete)}", err=True)


def _print(as_json: bool, document: Mapping[str, object], line: str) -> None:
    typer.echo(json.dumps(document) if as_json else line)
