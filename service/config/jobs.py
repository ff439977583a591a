"""Batch jobs: how many, how often, how long what they made is kept.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pydantic import BaseModel, Field


class Jobs(BaseModel):
    """Batch jobs: how many, how often, how long what they made is kept."""

    max_jobs: int = Field(
        1,
        ge=0,
        le=1024,
        description="Batch jobs at once in one worker, beside its sessions, in the gaps they leave; 0 turns jobs off.",
    )
    max_queued_jobs: int = Field(100_000, ge=1, description="Jobs that may wait.")
    job_losses: int = Field(
        3, ge=1, le=100, description="Lost workers after which the job they were making is set aside."
    )
    job_lease: float = Field(
        30.0, gt=0, description="Silence of a server after which another one that shares the store takes up its jobs."
    )
    job_retry_delay: float = Field(
        1.0,
        gt=0,
        description="Wait before a job is tried again that met with trouble not its own; doubled each time, to 60 s.",
    )
    job_trouble_seconds: float = Field(
        86400.0, gt=0, description="How long a job is tried again in the face of such trouble before it fails."
    )
    job_retain_hours: float = Field(72.0, gt=0, description="How long an ended job and its files are kept.")
    idempotency_hours: float = Field(24.0, gt=0, description="How long an `Idempotency-Key` is remembered.")
    disk_floor_bytes: int = Field(
        256 * 1024**2,
        ge=0,
        description="Room that jobs leave on the disk: below it no job is accepted (507), and those that wait go on"
        " waiting.",
    )
