"""Versions of the tables: made, brought forward and one step back, or refused and left alone."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, select, text

from service.errors import ErrorCode
from service.store import migrate
from service.store.database import DATABASE, open_database
from service.store.failures import StoreVersionUnknown
from service.store.schema import SCHEMA
from service.store.store import SessionStore
from service.store.tables import FILES, METADATA

LANDED = Path(__file__).parent / "landed"
"""Databases as programs of each version made them, as SQL."""
STORE = Path(migrate.__file__).parent


@pytest.fixture(name="engine")
def _engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(tmp_path, busy_timeout=5.0).execution_options(writes=True)
    yield engine
    engine.dispose()


def make_landed(folder: Path, version: str) -> None:
    """The database that a program of this version left."""
    connection = sqlite3.connect(folder / DATABASE)
    connection.executescript((LANDED / f"{version}.sql").read_text("utf-8"))
    connection.close()


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, METADATA))


def old_number(connection: Connection) -> int:
    return int(connection.execute(select(SCHEMA.c.version)).scalar_one())


def test_a_new_store_is_of_the_newest_version_and_stays_so(engine: Engine) -> None:
    for _ in range(2):
        with engine.begin() as connection:
            migrate.prepare(connection)
            assert (migrate.version_of(connection), old_number(connection)) == (migrate.newest(), 2)


@pytest.mark.parametrize("version", sorted(file.stem for file in LANDED.glob("*.sql")))
def test_the_steps_lead_to_the_tables_that_the_program_has(engine: Engine, tmp_path: Path, version: str) -> None:
    make_landed(tmp_path, version)
    with engine.begin() as connection:
        migrate.prepare(connection)
        assert differences(connection) == []
        assert migrate.version_of(connection) == migrate.newest()
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []


def test_a_difference_would_be_seen(engine: Engine) -> None:
    with engine.begin() as connection:
        migrate.prepare(connection)
        connection.execute(text("ALTER TABLE families ADD COLUMN later INTEGER"))
        assert len(differences(connection)) == 1


def test_every_file_of_tables_is_named() -> None:
    """A file that puts a table on the metadata without being named would be missed by all of this."""
    named = {Path(str(module.__file__)).name for module in FILES}
    with_tables = {file.name for file in STORE.glob("*.py") if re.search(r"= Table\(", file.read_text("utf-8"))}
    assert with_tables == named


async def test_what_a_store_held_before_is_there_afterwards(tmp_path: Path) -> None:
    make_landed(tmp_path, "0001")
    store = SessionStore(tmp_path)
    record, chunks, events = await store.get("a"), await store.chunks("a"), await store.events("a")
    store.close()
    assert (record.tenant, record.end_reason, record.next_sequence) == ("local", "completed", 3)
    assert ([row.sequence for row in chunks], [event.sequence for event in events]) == ([0, 1, 2], [0, 1, 2])


def test_each_step_goes_back_to_where_it_came_from(engine: Engine, tmp_path: Path) -> None:
    make_landed(tmp_path, "0001")
    with engine.begin() as connection:
        before = tables_of(connection)
        migrate.prepare(connection)
    while True:
        with engine.begin() as connection:
            version = migrate.step_back(connection)
            assert migrate.version_of(connection) == version
            if version == migrate.BASELINE:
                assert tables_of(connection) == before
                break
    with engine.begin() as connection:
        # A program of that time opens it; and this one brings it forward again.
        assert old_number(connection) == 1
        assert connection.execute(text("SELECT count(*) FROM chunks")).scalar() == 3
        migrate.prepare(connection)
        assert differences(connection) == []


def tables_of(connection: Connection) -> dict[str, list[str]]:
    found = inspect(connection)
    names = sorted(set(found.get_table_names()) - {"alembic_version"})
    return {name: [column["name"] for column in found.get_columns(name)] for name in names}


def test_there_is_nothing_before_the_first_version(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection, pytest.raises(StoreVersionUnknown, match="of version none"):
        migrate.step_back(connection)
    make_landed(tmp_path, "0001")
    with engine.begin() as connection, pytest.raises(StoreVersionUnknown, match="there is none before it"):
        migrate.step_back(connection)


def test_a_newer_store_is_refused_and_left_alone(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        migrate.prepare(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(StoreVersionUnknown, match=f"of version 9999; this program reads up to {migrate.newest()}"):
        SessionStore(tmp_path)
    with engine.begin() as connection, pytest.raises(StoreVersionUnknown) as refused:
        migrate.step_back(connection)
    assert refused.value.code == ErrorCode.STORE_VERSION_UNKNOWN
    assert (tmp_path / DATABASE).read_bytes() == before


STEP = '''"""A step of a test."""
from alembic import op
revision = "{number}"
down_revision = {before}
def upgrade():
    {work}
def downgrade():
    pass
'''


def write_step(folder: Path, number: str, *, before: str | None, work: str) -> None:
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    text_ = STEP.format(number=number, before=repr(before), work=work)
    (folder / "versions" / f"r{number}.py").write_text(text_, "utf-8")


def test_a_step_that_fails_leaves_the_store_as_it_was(engine: Engine, tmp_path: Path) -> None:
    make_landed(tmp_path, "0001")
    steps = tmp_path / "steps"
    write_step(steps, "0001", before=None, work="pass")
    write_step(steps, "0002", before="0001", work='op.execute("CREATE TABLE later (a INTEGER)")')
    write_step(steps, "0003", before="0002", work='op.execute("CREATE TABLE later (a INTEGER)")')
    with pytest.raises(Exception, match="already exists"), engine.begin() as connection:
        migrate.prepare(connection, folder=steps)
    with engine.begin() as connection:
        assert migrate.version_of(connection) == "0001"
        assert not inspect(connection).has_table("later")
        write_step(steps, "0003", before="0002", work="pass")
        migrate.prepare(connection, folder=steps)
        assert migrate.version_of(connection) == "0003"
        assert inspect(connection).has_table("later")
