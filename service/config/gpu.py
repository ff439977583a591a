"""Faults of GPUs: whether they are watched for, and how.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pydantic import BaseModel, Field


class Gpu(BaseModel):
    """Faults of GPUs: whether they are watched for, and how."""

    gpu_watch: bool = Field(
        True, description="Watch for faults that GPUs report (Xid), where the engine runs on one and NVML can be used."
    )
    gpu_watch_interval: float = Field(1.0, gt=0, le=60, description="Longest wait for one report of a fault.")
    gpu_settle_seconds: float = Field(
        10.0, ge=0, description="Faults of a GPU count for nothing so long after one had its worker replaced."
    )
