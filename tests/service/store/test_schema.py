"""Versions of the tables: made, brought forward in one step each, or refused and left alone."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select, text

from service.errors import ConfigError
from service.store.database import open_database
from service.store.schema import SCHEMA, SCHEMA_VERSION, prepare


def open_writing(folder: Path) -> Engine:
    return open_database(folder, busy_timeout=5.0).execution_options(writes=True)


def version_of(engine: Engine) -> int:
    with engine.begin() as connection:
        return int(connection.execute(select(SCHEMA.c.version)).scalar_one())


def test_tables_are_made_once_and_carry_their_version(tmp_path: Path) -> None:
    engine = open_writing(tmp_path)
    for _ in range(2):
        with engine.begin() as connection:
            prepare(connection)
    assert version_of(engine) == SCHEMA_VERSION
    engine.dispose()


def test_an_older_store_is_brought_forward_step_by_step(tmp_path: Path) -> None:
    engine = open_writing(tmp_path)
    with engine.begin() as connection:
        prepare(connection, version=1)
    steps: list[int] = []

    def step(number: int) -> None:
        steps.append(number)

    def second(connection: Connection) -> None:
        step(1)
        connection.execute(text("CREATE TABLE later (a INTEGER)"))

    migrations = {1: second, 2: lambda connection: step(2)}
    with engine.begin() as connection:
        prepare(connection, version=3, migrations=migrations)
    assert (steps, version_of(engine)) == ([1, 2], 3)
    engine.dispose()


def test_a_step_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    engine = open_writing(tmp_path)
    with engine.begin() as connection:
        prepare(connection, version=1)

    def broken(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE later (a INTEGER)"))
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"), engine.begin() as connection:
        prepare(connection, version=2, migrations={1: broken})
    assert version_of(engine) == 1
    with engine.begin() as connection:
        assert not engine.dialect.has_table(connection, "later")
    engine.dispose()


def test_a_newer_store_and_one_without_a_way_are_refused(tmp_path: Path) -> None:
    engine = open_writing(tmp_path)
    with engine.begin() as connection:
        prepare(connection, version=7)
    for version, message in ((6, "is of version 7; this program reads up to 6"), (8, "there is no way to 8")):
        with pytest.raises(ConfigError, match=message), engine.begin() as connection:
            prepare(connection, version=version)
    assert version_of(engine) == 7
    engine.dispose()


def test_every_connection_keeps_the_rules(tmp_path: Path) -> None:
    engine = open_writing(tmp_path)
    with engine.begin() as connection:
        prepare(connection)
        found = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("foreign_keys", "busy_timeout")]
        assert found == [1, 5000]
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    engine.dispose()


def test_a_reader_beside_a_server_cannot_write(tmp_path: Path) -> None:
    writing = open_writing(tmp_path)
    with writing.begin() as connection:
        prepare(connection)
    reading = open_database(tmp_path, busy_timeout=1.0, read_only=True)
    assert version_of(reading) == SCHEMA_VERSION
    with pytest.raises(Exception, match="readonly"), reading.begin() as connection:
        connection.execute(text("DELETE FROM store_schema"))
    reading.dispose()
    writing.dispose()
