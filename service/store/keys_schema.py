"""The tables of keys: who may use the service, what each key has used, and tokens that stand for a key for a while.

Knows SQLAlchemy's generic SQL only. Invariant: no secret is in a table, only its SHA-256; it has 256 random bits, so
that nothing slower is needed to keep it from being guessed.
"""

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table, Text

from service.store.schema import METADATA

KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("scopes", String(256), nullable=False),
    Column("max_sessions", Integer),
    Column("max_jobs", Integer),
    Column("gpu_seconds_per_day", Float),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

KEY_USAGE = Table(
    "key_usage",
    METADATA,
    Column("key", ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    # UTC, as 2026-01-31.
    Column("day", String(10), primary_key=True),
    Column("gpu_seconds", Float, nullable=False),
)

ACCESS_TOKENS = Table(
    "access_tokens",
    METADATA,
    Column("digest", String(64), primary_key=True),
    # Null for one that stands for nobody's key, where none was needed.
    Column("key", ForeignKey("api_keys.id", ondelete="CASCADE")),
    Column("tenant", String(64), nullable=False),
    Column("scopes", String(256), nullable=False),
    # What a media token opens; null for one that opens one WebSocket.
    Column("path", Text),
    Column("expires_at", Float, nullable=False),
    Index("access_tokens_by_age", "expires_at"),
)
