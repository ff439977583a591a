"""The database behind the store: the only place that knows which kind it is.

Knows SQLite's pragmas and transactions, and what is different on Postgres; nothing of sessions. Invariants: a reading
transaction sees one state; on SQLite a transaction that writes takes the write lock when it begins, so that it never
has to give up half-way, and one process at a time opens a folder for writing; a database on a server is shared by any
number of processes, whose conflicts are tried again (`is_conflict`).
"""

import fcntl
import os
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import IO

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from service.errors import ConfigError

DATABASE = "store.sqlite"
LOCK = "lock"
_SERVER = "postgresql"
_CONFLICTS = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock: the whole transaction may be tried again."""
_SCHEMA_LOCK = 7_203_114_512
"""Any number that no other program takes on the same database."""


def open_database(folder: Path, *, busy_timeout: float, read_only: bool = False, url: str | None = None) -> Engine:
    """An engine over the folder's database, or over that of `url`. Nothing is read or written yet.

    Raises:
        ConfigError: the URL is none, or of a kind that is not supported.
    """
    if url is not None:
        return _open_server(url, busy_timeout=busy_timeout)
    engine = create_engine(URL.create("sqlite+pysqlite", database=str(folder / DATABASE)))

    def connected(connection: SqliteConnection, entry: ConnectionPoolEntry) -> None:
        del entry
        # Transactions are begun below: the driver's own way begins them too late for savepoints and for reads.
        connection.isolation_level = None
        pragmas = ["foreign_keys = ON", f"busy_timeout = {round(busy_timeout * 1000)}"]
        # Not the file mode: a reader may have to bring a log to its end that a killed server left. FULL, so that what
        # was acknowledged outlives a loss of power, too; writes that come together share its cost.
        pragmas += ["query_only = ON"] if read_only else ["journal_mode = WAL", "synchronous = FULL"]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def _open_server(url: str, *, busy_timeout: float) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername != f"{_SERVER}+psycopg":
            raise ConfigError(f"store_url is a postgresql+psycopg:// address, not {parsed.drivername}://")
        import psycopg

        return create_engine(
            parsed,
            module=psycopg,
            pool_pre_ping=True,
            pool_timeout=busy_timeout,
            isolation_level="REPEATABLE READ",
            connect_args={"connect_timeout": max(1, round(busy_timeout))},
        )
    except ArgumentError as error:
        raise ConfigError(f"store_url cannot be used: {error}") from error
    except ImportError as error:
        raise ConfigError(f"store_url needs the extra `postgres`: {error}") from error


def for_writing(engine: Engine) -> Engine:
    """The same database, for transactions that write."""
    if engine.dialect.name == _SERVER:
        # Rows are locked where they are read to be changed; what others committed meanwhile counts.
        return engine.execution_options(writes=True, isolation_level="READ COMMITTED")
    return engine.execution_options(writes=True)


def lock_schema(connection: Connection) -> None:
    """In a transaction: no other process changes the tables until its end."""
    if connection.dialect.name == _SERVER:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _SCHEMA_LOCK})


def is_conflict(error: Exception) -> bool:
    """Two processes were in each other's way: neither has changed anything, and either may try again."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _CONFLICTS


class FolderLock:
    """Holds a folder for one process; the system lets go of it when the process ends, however it does."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = (folder / LOCK).open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            message = f"the store {folder} is in use by another server; give this one its own with store_dir"
            raise ConfigError(message) from None
        os.set_inheritable(self._file.fileno(), False)

    def release(self) -> None:
        self._file.close()
