"""One transaction on the store's database beside a server that runs on it, or before there ever was one.

Knows how the store is opened; nothing of what is done. Invariant: the tables are brought to this version first, as a
server would do; what is done is one transaction, whole or not at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from service.errors import ConfigError
from service.store.database import for_writing, lock_schema, open_database
from service.store.failures import StoreFailed
from service.store.migrate import prepare

_BUSY_TIMEOUT = 30.0


@contextmanager
def beside_server(folder: Path, *, url: str | None = None) -> Iterator[Connection]:
    """The transaction. Raises ConfigError or StoreFailed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the store's folder {folder} cannot be made: {error.strerror}") from error
    engine = open_database(folder, busy_timeout=_BUSY_TIMEOUT, url=url)
    try:
        with for_writing(engine).begin() as connection:
            lock_schema(connection)
            prepare(connection)
            yield connection
    except SQLAlchemyError as error:
        raise StoreFailed(f"the store cannot be written: {error.__cause__ or error}") from error
    finally:
        engine.dispose()
