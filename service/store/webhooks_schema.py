"""The tables of webhooks, beside those of jobs on the same metadata.

Knows SQLAlchemy's generic SQL only. Invariant: a row of what is to be sent is written in the transaction that makes it
true, so that neither can be without the other.
"""

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from service.store.schema import METADATA

WEBHOOKS = Table(
    "webhooks",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("job", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    # Written before each try, so that one that kills this process counts as well.
    Column("attempts", Integer, nullable=False),
    # When it is due; null once it was delivered or given up.
    Column("next_at", Float),
    Column("finished_at", Float),
    Column("outcome", String(16)),
    Column("trouble", Text),
    Index("webhooks_due", "next_at"),
    Index("webhooks_by_tenant", "tenant", "created_at", "id"),
)

WEBHOOK_SECRETS = Table(
    "webhook_secrets",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("secret", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    # When another took its place; it still signs for a while.
    Column("retired_at", Float),
    Index("webhook_secrets_by_tenant", "tenant", "created_at"),
)
