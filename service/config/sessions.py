"""Places, waiting, and what becomes of a session that lost its connection.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Sessions(BaseModel):
    """Places, waiting, and what becomes of a session that lost its connection."""

    max_sessions: int = Field(
        4, ge=1, le=4096, description="Sessions at once; more than the device has memory for take turns on it."
    )
    waiting_room: int = Field(64, ge=0, le=65536, description="Sessions that may wait for a place; 0 turns it off.")
    waiting_timeout: float = Field(600.0, gt=0, description="Longest wait for a place.")
    lease_seconds: float = Field(
        60.0,
        gt=0,
        description="A session keeps its place this long after the last sign of life of its connection: a message"
        " that came, or one that its socket took.",
    )
    resume_grace: float = Field(
        60.0,
        ge=0,
        description="Time in which a session without its director can be gone on with (`session.resume`); after it the"
        " session ends. 0: it ends at once.",
    )
    replay_max_bytes: int = Field(
        32 * 1024**2,
        ge=0,
        description="Media that one session keeps to send again after a lost connection, for as long as grace, lead and"
        " pings need; the newest chunks are kept whatever they weigh.",
    )
    resume_token_seconds: float = Field(
        3600.0, gt=0, description="How long a token is good for a session that has ended, or for a fork."
    )
    resume_tokens: int = Field(4096, ge=1, le=1048576, description="Tokens of such sessions that are kept.")
    drain_handover: Literal["shared", "always", "never"] = Field(
        "shared",
        description="Sessions that still run when the server shuts down are let go, for their clients to go on with at"
        " another server or at the next start: where others share the store, `always`, or `never`; else they end.",
    )
    restart_patience: float = Field(
        180.0, gt=0, description="Longest time that a session waits for a lost worker to be replaced."
    )
    retry_after: float = Field(5.0, gt=0, description="What a client that finds no place is told to wait.")
