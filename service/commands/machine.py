"""What a measurement has to say about the machine it was made on.

Reads what the system tells everybody; measures nothing. Knows torch by its settings only.
"""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Machine:
    cpu: str
    cores: int
    """Cores that this process may use."""
    threads: int
    """Threads of one operation."""
    memory_gib: float
    accelerator: str | None
    torch: str
    python: str
    load_average: tuple[float, float, float]
    """Over 1, 5 and 15 minutes, before the measurement: above the number of cores, figures are of a busy machine."""


def machine_facts() -> Machine:
    return Machine(
        cpu=cpu_name(Path("/proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)),
        threads=torch.get_num_threads(),
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        torch=torch.__version__,
        python=platform.python_version(),
        load_average=os.getloadavg(),
    )


def cpu_name(cpuinfo: Path) -> str:
    """The processor's name as Linux tells it; where it tells none, the architecture."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.machine()
