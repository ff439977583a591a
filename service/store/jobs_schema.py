"""The tables of batch jobs, beside those of sessions on the same metadata.

Knows SQLAlchemy's generic SQL only. Invariants: a job's row is there before anybody is told of the job; one attempt at
a time has a job, and its number only grows; a file is named in a row only once it is whole and on the disk.
"""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from service.store.schema import METADATA

BATCHES = Table(
    "batches",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("completed_at", Float),
    Column("cancelled_at", Float),
    Column("metadata", Text, nullable=False),
    Index("batches_by_age", "tenant", "created_at", "id"),
)

JOBS = Table(
    "jobs",
    METADATA,
    # Also the id of its session, which has a row of its own from the first block on.
    Column("id", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("key_id", String(64)),
    Column("status", String(16), nullable=False),
    Column("request", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("opening", String(255)),
    Column("batch", ForeignKey("batches.id", ondelete="SET NULL")),
    Column("custom_id", String(255)),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("completed_at", Float),
    Column("expires_at", Float),
    Column("expired", Integer, nullable=False),
    Column("failure_code", String(64)),
    Column("failure_message", Text),
    Column("waiting_code", String(64)),
    Column("waiting_message", Text),
    # Not before then; null where nothing stands in the way.
    Column("retry_at", Float),
    # Since when every attempt has met with trouble that is not the job's own.
    Column("troubled_since", Float),
    Column("width", Integer),
    Column("height", Integer),
    Column("fps", Float),
    Column("frames", Integer),
    Column("frames_made", Integer, nullable=False),
    Column("blocks", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    # Whoever has it, and until when if nothing more is heard; another server may take it then.
    Column("owner", String(64)),
    Column("lease_until", Float),
    Column("engine_seconds", Float, nullable=False),
    Column("version", Integer, nullable=False),
    Index("jobs_by_age", "tenant", "created_at", "id"),
    Index("jobs_by_turn", "status", "priority", "created_at", "id"),
    Index("jobs_of_batch", "batch", "status"),
)

JOB_ATTEMPTS = Table(
    "job_attempts",
    METADATA,
    Column("job", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(64), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", String(64)),
    Column("first_block", Integer, nullable=False),
    # Of its file of fragments: what is behind is of a block that was never acknowledged.
    Column("media_bytes", BigInteger, nullable=False),
)

JOB_FILES = Table(
    "job_files",
    METADATA,
    Column("job", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("variant", String(16), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("media_type", String(64), nullable=False),
)

IDEMPOTENCY_KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    # The id of what was made: a job or a batch.
    Column("made", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Index("idempotency_by_age", "created_at"),
)
