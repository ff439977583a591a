"""The tables of the store, and the way from an older version of them to this one.

Knows SQLAlchemy's generic SQL only, so that the tables are the same on every database. Invariants: the version is
written down in the database; an older one is brought forward step by step inside one transaction, a newer one is
refused and left as it is.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    update,
)

from service.errors import ConfigError

SCHEMA_VERSION = 1
METADATA = MetaData()

SCHEMA = Table("store_schema", METADATA, Column("version", Integer, nullable=False))

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", String(128), primary_key=True),
    Column("model", String(128), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("fps", Float, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("family", String(128), nullable=False),
    Column("parent", String(128)),
    Column("parent_block", Integer),
    Column("ended_at", Float),
    Column("end_reason", String(32)),
    Column("next_sequence", Integer, nullable=False),
    # Blocks of the course that were not taken back when no chunk has come since; null where one has.
    Column("cut_block", Integer),
    # A fork whose latents are not all there yet, which nobody has been told of.
    Column("unfinished", Boolean, nullable=False),
    # Whose it is: nobody else sees it.
    Column("tenant", String(64), nullable=False, server_default="local"),
    Index("sessions_by_age", "created_at", "id"),
)

FAMILIES = Table(
    "families",
    METADATA,
    Column("family", String(128), primary_key=True),
    Column("next_take", Integer, nullable=False),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("session", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("sequence", Integer, nullable=False),
    Column("engine", Boolean, nullable=False),
    Column("document", Text, nullable=False),
)

CHUNKS = Table(
    "chunks",
    METADATA,
    Column("session", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("take", Integer, nullable=False),
    Column("block", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("pts", Float, nullable=False),
    Column("frames_sha256", String(64), nullable=False),
)

Migration = Callable[[Connection], None]

MIGRATIONS: Mapping[int, Migration] = {}
"""What brings a database of version N to N + 1."""


def prepare(
    connection: Connection, *, version: int = SCHEMA_VERSION, migrations: Mapping[int, Migration] = MIGRATIONS
) -> None:
    """Make the tables, or bring those that are there to `version`. Raises ConfigError where that cannot be."""
    if not inspect(connection).has_table(SCHEMA.name):
        METADATA.create_all(connection)
        connection.execute(insert(SCHEMA).values(version=version))
        return
    found = int(connection.execute(select(SCHEMA.c.version)).scalar_one())
    if found > version:
        raise ConfigError(f"the store is of version {found}; this program reads up to {version}: use a newer one")
    while found < version:
        if found not in migrations:
            raise ConfigError(f"the store is of version {found}, from which there is no way to {version}")
        migrations[found](connection)
        found += 1
        connection.execute(update(SCHEMA).values(version=found))
