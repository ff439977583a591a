"""What one request of batch jobs may hold, and how long it may wait.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pydantic import BaseModel, Field


class Videos(BaseModel):
    """What one request of batch jobs may hold, and how long it may wait."""

    max_clip_bytes: int = Field(32 * 1024**2, ge=1, description="Largest clip that a job may go on from, as a file.")
    max_timeline_prompts: int = Field(1024, ge=1, le=65536, description="Prompts of one job, one after the other.")
    max_uploads: int = Field(8, ge=1, le=1024, description="Bodies of jobs and batches that are on their way, at once.")
    upload_timeout: float = Field(120.0, gt=0, description="Longest time that the body of a job or batch may take.")
    max_batch_bytes: int = Field(32 * 1024**2, ge=1, description="Largest file of a batch.")
    max_batch_items: int = Field(10000, ge=1, le=1000000, description="Requests in one batch.")
    max_event_streams: int = Field(256, ge=1, le=65536, description="Clients that follow jobs and batches, at once.")
    event_keepalive: float = Field(15.0, gt=0, description="Longest silence of a stream of events.")
    max_wait: float = Field(60.0, gt=0, description="Longest wait for a batch in one request.")
