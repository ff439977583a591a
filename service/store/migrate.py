"""Brings a database to the version of its tables that this program has, or one step back; a newer one is refused.

Knows Alembic and the folder of versions; nothing of what the tables are for. Invariants: all steps are one transaction
of the caller's; a new database is made from the metadata, to which the steps lead too (a test holds that); what is
refused is left as it is.
"""

from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, insert, inspect
from sqlalchemy.exc import SQLAlchemyError

from service.store.database import open_database
from service.store.failures import StoreFailed, StoreVersionUnknown
from service.store.schema import SCHEMA
from service.store.tables import METADATA

FOLDER = Path(__file__).parent / "migrations"
BASELINE = "0001"
"""The version of a store that was made before there were versions of this kind."""
OLD_NUMBER = 2
"""What later versions say where programs of that time look; those open number 1 only."""


def prepare(connection: Connection, *, folder: Path = FOLDER) -> None:
    """Make the tables, or bring those that are there to this program's version.

    Raises:
        StoreVersionUnknown: a newer program has had the store.
    """
    context, versions = _open(connection, folder)
    head = versions.get_current_head()
    found = _version(context)
    if found is None:
        METADATA.create_all(connection)
        connection.execute(insert(SCHEMA).values(version=OLD_NUMBER))
        context.stamp(versions, str(head))
        return
    for step in reversed(list(_way(versions, head, down_to=found))):
        with Operations.context(context):
            step.module.upgrade()
        context.stamp(versions, step.revision)


def step_back(connection: Connection, *, folder: Path = FOLDER) -> str:
    """Bring the tables one version back, for the program of that time. The version they are of then.

    Raises:
        StoreVersionUnknown: there is no version before, or a newer program has had the store.
    """
    context, versions = _open(connection, folder)
    found = _version(context)
    step = None if found is None else versions.get_revision(_known(versions, found))
    if step is None or not isinstance(step.down_revision, str):
        raise StoreVersionUnknown(f"the store is of version {found or 'none'}: there is none before it")
    with Operations.context(context):
        step.module.downgrade()
    context.stamp(versions, step.down_revision)
    return step.down_revision


def version_of(connection: Connection) -> str | None:
    """The version of the tables that are there; None where there are none."""
    return _version(MigrationContext.configure(connection))


def stored_version(folder: Path, *, busy_timeout: float, url: str | None = None) -> str | None:
    """The version of a store that a server may be using. Raises StoreFailed or ConfigError."""
    engine = open_database(folder, busy_timeout=busy_timeout, read_only=True, url=url)
    try:
        with engine.begin() as connection:
            return version_of(connection)
    except SQLAlchemyError as error:
        raise StoreFailed(f"the database cannot be read: {error.__cause__ or error}") from error
    finally:
        engine.dispose()


def newest(folder: Path = FOLDER) -> str:
    """This program's own version."""
    return str(ScriptDirectory(str(folder)).get_current_head())


def _open(connection: Connection, folder: Path) -> tuple[MigrationContext, ScriptDirectory]:
    return MigrationContext.configure(connection), ScriptDirectory(str(folder))


def _version(context: MigrationContext) -> str | None:
    found = context.get_current_revision()
    assert context.connection is not None, "versions are of a database, not of a script"
    if found is None and inspect(context.connection).has_table(SCHEMA.name):
        return BASELINE
    return found


def _way(versions: ScriptDirectory, head: str | None, *, down_to: str) -> list[Script]:
    """The steps from `down_to` to `head`, the last one first."""
    return list(versions.walk_revisions(_known(versions, down_to), str(head)))[:-1]


def _known(versions: ScriptDirectory, version: str) -> str:
    known = sorted(script.revision for script in versions.walk_revisions())
    if version not in known:
        raise StoreVersionUnknown(f"the store is of version {version}; this program reads up to {known[-1]}")
    return version
