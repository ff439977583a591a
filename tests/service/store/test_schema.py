"""What every connection to the store's database keeps to."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from service.store.database import open_database
from service.store.migrate import prepare
from service.store.schema import SCHEMA


def open_writing(folder: Path) -> Engine:
    return open_database(folder, busy_timeout=5.0).execution_options(writes=True)


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
    with reading.begin() as connection:
        assert connection.execute(select(SCHEMA.c.version)).scalar_one() == 2
    with pytest.raises(Exception, match="readonly"), reading.begin() as connection:
        connection.execute(text("DELETE FROM store_schema"))
    reading.dispose()
    writing.dispose()
