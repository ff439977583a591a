"""The engine's process: looked after, restarted, spoken to.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pydantic import BaseModel, Field


class Worker(BaseModel):
    """The engine's process: looked after, restarted, spoken to."""

    workers: int = Field(
        1, ge=1, le=64, description="Workers on this machine, `max_sessions` each; on CUDA the first gets `cuda:0`, ..."
    )
    worker_poll_interval: float = Field(
        0.1, gt=0, le=1, description="Time between two looks at the worker's process, and of an idle worker round."
    )
    worker_stop_timeout: float = Field(
        5.0, gt=0, description="Wait for a worker that is told to end, or is lost, before it is killed."
    )
    worker_restarts: int = Field(3, ge=0, le=100, description="Restarts of the worker in one window; then the end.")
    worker_restart_window: float = Field(600.0, gt=0, description="The window in which restarts are counted.")
    worker_restart_delay: float = Field(
        1.0, gt=0, description="Wait before the first restart in a window; doubled for each further one."
    )
    worker_restart_delay_max: float = Field(60.0, gt=0, description="Longest wait before a restart.")
    channel_messages: int = Field(
        1024, ge=16, le=65536, description="Messages that may wait in each direction between API and worker."
    )
    channel_message_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, description="Longest message between API and worker: a raw chunk has to fit."
    )
    channel_send_timeout: float = Field(
        5.0, gt=0, description="Wait for the other process to read before it counts as stuck."
    )
    channel_linger: float = Field(1.0, ge=0, description="Wait of an ending worker for its last messages to leave.")
