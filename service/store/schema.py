"""The tables of sessions, and the metadata on which all of the store's tables are.

Knows SQLAlchemy's generic SQL only, so that the tables are the same on every database. Invariant: a change here has
its step in service/store/migrations/, which a test demands.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()

# Where programs that came before migrations look for the version; service/store/migrate.py says what stands there.
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
