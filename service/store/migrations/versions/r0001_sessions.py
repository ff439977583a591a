"""Version 0001: sessions, the families that share takes, their events and their chunks.

The tables as they were before there were versions of this kind; a store of that time has them, and its own number in
`store_schema`, which programs of that time look at: they open number 1 only.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    schema = op.create_table("store_schema", sa.Column("version", sa.Integer, nullable=False))
    op.bulk_insert(schema, [{"version": 1}])
    _create_sessions()
    op.create_table(
        "families",
        sa.Column("family", sa.String(128), primary_key=True),
        sa.Column("next_take", sa.Integer, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("session", sa.String(128), sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("engine", sa.Boolean, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "chunks",
        sa.Column("session", sa.String(128), sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("take", sa.Integer, nullable=False),
        sa.Column("block", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("frames", sa.Integer, nullable=False),
        sa.Column("pts", sa.Float, nullable=False),
        sa.Column("frames_sha256", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    for table in ("chunks", "events", "families", "sessions", "store_schema"):
        op.drop_table(table)


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("fps", sa.Float, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("family", sa.String(128), nullable=False),
        sa.Column("parent", sa.String(128)),
        sa.Column("parent_block", sa.Integer),
        sa.Column("ended_at", sa.Float),
        sa.Column("end_reason", sa.String(32)),
        sa.Column("next_sequence", sa.Integer, nullable=False),
        sa.Column("cut_block", sa.Integer),
        sa.Column("unfinished", sa.Boolean, nullable=False),
    )
    op.create_index("sessions_by_age", "sessions", ["created_at", "id"])
