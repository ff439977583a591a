"""The table of prompts that sessions have accepted.

Knows SQLAlchemy's generic SQL only. Invariant: a row goes with its session; what a program of the version before would
not look at is in no other table.
"""

from sqlalchemy import Column, Float, ForeignKey, Integer, String, Table, Text

from service.store.schema import METADATA

PROMPTS = Table(
    "session_prompts",
    METADATA,
    Column("session", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("event_id", String(128), primary_key=True),
    # In the order in which they were accepted.
    Column("ordinal", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("document", Text, nullable=False),
    Column("not_before", Float, nullable=False),
    # Null, both, while the prompt waits for its block.
    Column("outcome", Text),
    Column("sequence", Integer),
)
