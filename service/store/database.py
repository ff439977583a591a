"""The database behind the store: the only place that knows which kind it is.

Knows SQLite's pragmas and transactions; nothing of sessions. Invariants: every connection has foreign keys, a busy
timeout and the write-ahead log; a transaction that writes takes the write lock when it begins, so that it never has to
give up half-way; one process at a time opens a folder for writing, others may read.
"""

import fcntl
import os
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import IO

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from service.errors import ConfigError

DATABASE = "store.sqlite"
LOCK = "lock"


def open_database(folder: Path, *, busy_timeout: float, read_only: bool = False) -> Engine:
    """An engine over the folder's database. Nothing is read or written yet."""
    engine = create_engine(URL.create("sqlite+pysqlite", database=str(folder / DATABASE)))

    def connected(connection: SqliteConnection, entry: ConnectionPoolEntry) -> None:
        del entry
        # Transactions are begun below: the driver's own way begins them too late for savepoints and for reads.
        connection.isolation_level = None
        pragmas = ["foreign_keys = ON", f"busy_timeout = {round(busy_timeout * 1000)}"]
        # Not the file mode: a reader may have to bring a log to its end that a killed server left.
        pragmas += ["query_only = ON"] if read_only else ["journal_mode = WAL", "synchronous = NORMAL"]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


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
