"""How long anything is waited for.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pydantic import BaseModel, Field


class Timeouts(BaseModel):
    """How long anything is waited for."""

    request_timeout: float = Field(10.0, gt=0, description="Wait for the head of an HTTP request.")
    start_timeout: float = Field(10.0, gt=0, description="Wait for `session.start` after connecting.")
    idle_timeout: float = Field(
        300.0,
        gt=0,
        description="Wait in a session for a sign of life: a message from the client or a chunk it took.",
    )
    send_timeout: float = Field(30.0, gt=0, description="Wait for a client to take one message.")
    ping_interval: float = Field(20.0, gt=0, description="Time between WebSocket pings.")
    ping_timeout: float = Field(20.0, gt=0, description="Wait for a WebSocket pong.")
    answer_timeout: float = Field(
        30.0, gt=0, description="Wait for the worker to start a session, or to end one that was stopped."
    )
    close_timeout: float = Field(
        5.0, gt=0, description="Wait for a client to take the last messages and close its side."
    )
    worker_start_timeout: float = Field(120.0, gt=0, description="Wait for the worker to load and warm up.")
    heartbeat_interval: float = Field(1.0, gt=0, description="Time between heartbeats of the worker.")
    heartbeat_timeout: float = Field(5.0, gt=0, description="Silence after which the worker counts as dead.")
    block_deadline: float = Field(
        30.0, gt=0, description="Longest time for one block before the worker counts as hung."
    )
    drain_grace: float = Field(5.0, ge=0, description="Time sessions may go on after `session.draining`.")
    drain_timeout: float = Field(30.0, gt=0, description="Wait for sessions to end at shutdown.")
