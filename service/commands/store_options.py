"""The options of the commands that keep a store: backup, restore, migrate.

Knows typer; nothing of stores. Invariant: which store is meant is said in the same words for all of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    store: Annotated[Path | None, typer.Option(help="Folder of the store [default: the service's].")] = None
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions(StoreOptions):
    folder: Annotated[Path, typer.Argument(help="Folder of the backup, which is not there yet.")]
    check: Annotated[bool, typer.Option("--check", help="Only read a backup that is there, all of it.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions(StoreOptions):
    folder: Annotated[Path, typer.Argument(help="Folder of the backup.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateOptions(StoreOptions):
    back: Annotated[bool, typer.Option("--back", help="One version back, for the release before; back up first.")] = (
        False
    )
