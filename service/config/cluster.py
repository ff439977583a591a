"""Many machines: API replicas, workers, and how many of them.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pydantic import BaseModel, Field


class Cluster(BaseModel):
    """Many machines: API replicas, workers, and how many of them."""

    cluster_address: str = Field(
        "local",
        min_length=1,
        description="The Ray cluster that `longtake serve --cluster` uses: `auto` for the one that this machine is part"
        " of, an address, or `local` for one that is started here and ends with it.",
    )
    cluster_replicas: int = Field(2, ge=1, le=1024, description="API processes of a cluster.")
    cluster_workers: int = Field(
        1, ge=0, le=65536, description="Fewest workers of a cluster; each is an actor with a GPU of its own."
    )
    cluster_workers_max: int = Field(8, ge=1, le=65536, description="Most workers of a cluster.")
    cluster_worker_gpus: float = Field(
        0.0, ge=0, le=16, description="GPUs that Ray reserves for one worker; 0 for workers on the CPU."
    )
    cluster_worker_cpus: float = Field(1.0, gt=0, le=1024, description="Processors that Ray reserves for one worker.")
    cluster_look_interval: float = Field(
        1.0, gt=0, description="Time between two looks of an API process at which workers there are."
    )
    cluster_late_share: float = Field(
        0.05, gt=0, le=1, description="Share of chunks that may come late before another worker is started."
    )
    cluster_idle_seconds: float = Field(
        300.0, ge=0, description="How long one worker less would have been enough before one is ended."
    )
