"""Version 0003: prompts that a session has accepted and that have not taken effect.

A session of before has none; the way back forgets those that wait.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "session_prompts",
        sa.Column("session", sa.String(128), nullable=False),
        sa.Column("event_id", sa.String(128), nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("sequence", sa.Integer),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session", "event_id"),
    )


def downgrade() -> None:
    op.drop_table("session_prompts")
