"""Version 0002: tenants, keys, batch jobs and their files, and who holds a session.

Sessions that were there belong to the tenant `local`. The way back forgets jobs, keys and holds; sessions stay.
Programs that came before migrations refuse a store of this version, by its number in `store_schema`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _create_api_keys()
    _create_batches()
    _create_idempotency_keys()
    _create_webhook_secrets()
    _create_webhooks()
    _create_access_tokens()
    _create_jobs()
    _create_key_usage()
    _create_resume_tokens()
    _create_session_holds()
    _create_job_attempts()
    _create_job_files()
    op.add_column("sessions", sa.Column("tenant", sa.String(64), server_default="local", nullable=False))
    # Programs that came before migrations look here, and open number 1 only.
    op.execute("UPDATE store_schema SET version = 2")


def downgrade() -> None:
    op.drop_column("sessions", "tenant")
    for table in (
        "job_files",
        "job_attempts",
        "session_holds",
        "resume_tokens",
        "key_usage",
        "jobs",
        "access_tokens",
        "webhooks",
        "webhook_secrets",
        "idempotency_keys",
        "batches",
        "api_keys",
    ):
        op.drop_table(table)
    op.execute("UPDATE store_schema SET version = 1")


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("scopes", sa.String(256), nullable=False),
        sa.Column("max_sessions", sa.Integer),
        sa.Column("max_jobs", sa.Integer),
        sa.Column("gpu_seconds_per_day", sa.Float),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
        sa.PrimaryKeyConstraint("id"),
    )


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("completed_at", sa.Float),
        sa.Column("cancelled_at", sa.Float),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("batches_by_age", "batches", ["tenant", "created_at", "id"])


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("made", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key"),
    )
    op.create_index("idempotency_by_age", "idempotency_keys", ["created_at"])


def _create_webhook_secrets() -> None:
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("retired_at", sa.Float),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("webhook_secrets_by_tenant", "webhook_secrets", ["tenant", "created_at"])


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float),
        sa.Column("finished_at", sa.Float),
        sa.Column("outcome", sa.String(16)),
        sa.Column("trouble", sa.Text),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("webhooks_by_tenant", "webhooks", ["tenant", "created_at", "id"])
    op.create_index("webhooks_due", "webhooks", ["next_at"])


def _create_access_tokens() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("key", sa.String(32)),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(256), nullable=False),
        sa.Column("path", sa.Text),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(["key"], ["api_keys.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("access_tokens_by_age", "access_tokens", ["expires_at"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("key_id", sa.String(64)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("opening", sa.String(255)),
        sa.Column("batch", sa.String(64)),
        sa.Column("custom_id", sa.String(255)),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("completed_at", sa.Float),
        sa.Column("expires_at", sa.Float),
        sa.Column("expired", sa.Integer, nullable=False),
        sa.Column("failure_code", sa.String(64)),
        sa.Column("failure_message", sa.Text),
        sa.Column("waiting_code", sa.String(64)),
        sa.Column("waiting_message", sa.Text),
        sa.Column("retry_at", sa.Float),
        sa.Column("troubled_since", sa.Float),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("fps", sa.Float),
        sa.Column("frames", sa.Integer),
        sa.Column("frames_made", sa.Integer, nullable=False),
        sa.Column("blocks", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("lease_until", sa.Float),
        sa.Column("engine_seconds", sa.Float, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["batch"], ["batches.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("jobs_by_age", "jobs", ["tenant", "created_at", "id"])
    op.create_index("jobs_by_turn", "jobs", ["status", "priority", "created_at", "id"])
    op.create_index("jobs_of_batch", "jobs", ["batch", "status"])


def _create_key_usage() -> None:
    op.create_table(
        "key_usage",
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("gpu_seconds", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(["key"], ["api_keys.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key", "day"),
    )


def _create_resume_tokens() -> None:
    op.create_table(
        "resume_tokens",
        sa.Column("session", sa.String(128), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("used", sa.String(64)),
        sa.Column("until", sa.Float),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session"),
    )


def _create_session_holds() -> None:
    op.create_table(
        "session_holds",
        sa.Column("session", sa.String(128), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session"),
    )


def _create_job_attempts() -> None:
    op.create_table(
        "job_attempts",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("outcome", sa.String(64)),
        sa.Column("first_block", sa.Integer, nullable=False),
        sa.Column("media_bytes", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "attempt"),
    )


def _create_job_files() -> None:
    op.create_table(
        "job_files",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("variant", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("media_type", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "variant"),
    )
