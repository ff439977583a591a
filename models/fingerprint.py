"""The numerics fingerprint: what has to be the same for two runs of a journal to agree bit for bit.

Device, instruction set, threads, versions, kernels, dtypes, decoder and weights (design section 1). Two workers with
one fingerprint make one picture; a worker with another says so.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """The facts that the fingerprint is made of."""

    model: str
    weights: str
    """Digest of the weights, or how they were drawn."""
    device: str
    instructions: str
    threads: int
    torch: str
    cudnn: int | None
    numpy: str
    attention: str
    dtype: str
    latent_dtype: str
    decoder: str
    quantize: str = "none"
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Digests of the adapters that are known, by name. Which of them are merged in, the journal says."""

    options: Mapping[str, str] = field(default_factory=dict)
    """Fast paths and near-lossless options that are on; none on a plain engine."""

    def fingerprint(self) -> str:
        """A short digest of all of it. An engine without options has the one it had before there were any."""
        facts = asdict(self)
        if not self.options:
            del facts["options"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def _cudnn_version() -> int | None:
    version: int | None = torch.backends.cudnn.version()
    return version


def numerics(
    *, model: str, weights: str, device: torch.device, attention: str, dtype: str, latent_dtype: str, decoder: str
) -> Numerics:
    """Read what this process computes with; call after the number of threads is set."""
    return Numerics(
        model=model,
        weights=weights,
        device=device_name(device),
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        torch=str(torch.__version__),
        cudnn=_cudnn_version() if device.type == "cuda" else None,
        numpy=np.__version__,
        attention=attention,
        dtype=dtype,
        latent_dtype=latent_dtype,
        decoder=decoder,
    )
