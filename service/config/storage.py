"""What is kept, where, and for how long.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pathlib import Path

from pydantic import BaseModel, Field


class Storage(BaseModel):
    """What is kept, where, and for how long."""

    store_dir: Path | None = Field(
        None,
        description="Folder of the store: sessions in SQL, their latents in files (none: `longtake` in the user's"
        " folder for data). One server at a time uses it, unless `store_url` is given.",
    )
    store_url: str | None = Field(
        None,
        description="A Postgres database for the store, `postgresql+psycopg://USER:PASSWORD@HOST/NAME` (none: SQLite in"
        " `store_dir`). Any number of servers share it, and a `store_dir` that all of them see.",
    )
    hold_seconds: float = Field(
        30.0,
        gt=0,
        description="How long a server that shares the store and says nothing counts as there. `resume_grace` later its"
        " sessions have ended.",
    )
    retain_hours: float = Field(
        72.0, ge=0, description="How long an ended session is kept: record, journal and latents."
    )
    store_max_bytes: int = Field(
        20 * 1024**3,
        ge=0,
        description="Room for latents; where they need more, those that ended first are deleted early.",
    )
    late_max_bytes: int = Field(
        64 * 1024**2,
        ge=0,
        description="Latents of one session that may wait in memory while the disk takes none; with more, the session"
        " waits for the disk, too.",
    )
    store_sweep_interval: float = Field(
        300.0, gt=0, description="Time between two looks at what is kept no longer; one is made at the start."
    )
    recording_timeout: float = Field(
        600.0, gt=0, description="Wait for the recording of a session; they are made one after the other."
    )
    store_busy_timeout: float = Field(5.0, gt=0, description="Wait for another process that uses the database.")
    store_queue: int = Field(256, ge=1, le=65536, description="Writes that may wait for the database.")
