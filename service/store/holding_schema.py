"""The tables of who holds a session, and of the tokens with which a client comes back to it.

Knows SQLAlchemy's generic SQL only. Invariants: a session has one holder and one token at most; both go with it; of a
token only hashes are kept.
"""

from sqlalchemy import Column, Float, ForeignKey, Integer, String, Table

from service.store.schema import METADATA

HOLDS = Table(
    "session_holds",
    METADATA,
    Column("session", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    # The API process; empty where one has let go of the session for another to take up.
    Column("holder", String(64), nullable=False),
    # Grows by one with each holder: a write with an older one changes nothing.
    Column("fence", Integer, nullable=False),
    # Seconds since 1970 after which the session counts as abandoned.
    Column("until", Float, nullable=False),
)

TOKENS = Table(
    "resume_tokens",
    METADATA,
    Column("session", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(64), nullable=False),
    # Of the token before, while its holder may not have the new one.
    Column("used", String(64)),
    # Null: as long as the session lives.
    Column("until", Float),
)
