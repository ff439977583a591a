"""What one client may send, ask for and keep waiting.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pydantic import BaseModel, Field


class Limits(BaseModel):
    """What one client may send, ask for and keep waiting."""

    max_connections: int = Field(256, ge=1, le=65536, description="WebSocket connections at once.")
    max_seconds: float = Field(3600.0, gt=0, description="Longest video of one session, in seconds of media.")
    max_message_bytes: int = Field(
        65536, ge=1024, description="Longest message from a client; a longer one closes with 1009."
    )
    max_picture_bytes: int = Field(
        8 * 1024**2, ge=1, le=32 * 1024**2, description="Largest picture that a session may start from, as a file."
    )
    max_pictures: int = Field(32, ge=1, le=65536, description="Pictures that are kept or on their way, at once.")
    picture_seconds: float = Field(
        120.0,
        gt=0,
        description="How long a picture is kept for the `session.start` that names it, and may take to arrive.",
    )
    max_json_depth: int = Field(8, ge=3, le=64, description="Deepest nesting of a message.")
    max_prompt_chars: int = Field(2000, ge=1, le=2000, description="Longest prompt, in characters.")
    interaction_queue: int = Field(
        16, ge=1, le=1024, description="Interactions of a session that may wait for their block."
    )
    remembered_events: int = Field(
        256,
        ge=1,
        le=65536,
        description="Event ids a session remembers, to tell a retry from a conflict.",
    )
    message_rate: float = Field(
        50.0, gt=0, description="Messages, and as many pings and pongs, a connection may send per second, on average."
    )
    message_burst: int = Field(100, ge=1, description="Messages, and as many pings and pongs, it may send at once.")
    session_credits: int = Field(
        2, ge=1, le=64, description="Chunks of a session between the worker and the client's socket."
    )
    slow_consumer_timeout: float = Field(
        5.0, gt=0, description="Longest wait of a chunk for a client that asked for `disconnect`."
    )
    stats_interval: float = Field(1.0, gt=0, description="Time between two `session.stats`.")
    playback_patience: float = Field(
        2.0, gt=0, description="How far a playhead may go on past its last report before pacing waits for the next."
    )
    unseen_margin: float = Field(
        0.15,
        ge=0,
        le=5,
        description="Media behind the playhead that counts as seen, for it is on its way, when unseen blocks are taken"
        " back.",
    )
    control_queue: int = Field(64, ge=8, le=4096, description="Control messages that may wait for a client's socket.")
