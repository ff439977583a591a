"""What a device can do, measured beside the engine: its rate at matrix products, and the power it takes.

A share of the rate that is printed on a box says little; of the rate that torch reaches on the same machine in the same
minute it says what is left to be gained. Knows torch and what Linux tells of power; knows no engine.
"""

import time
from pathlib import Path
from typing import Final

import torch

ENERGY: Final = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
"""Microjoules that the first processor has taken, where Linux tells; it begins again at a largest number."""
SIDES: Final = {"cpu": 1024, "cuda": 8192}
REPEATS: Final = 5


@torch.inference_mode()
def matrix_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a square matrix product, the best of some."""
    side = SIDES[device.type]
    a, b = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(REPEATS + 1):
        _wait(device)
        begun = time.perf_counter()
        torch.mm(a, b)
        _wait(device)
        best = min(best, time.perf_counter() - begun)
    return 2 * side**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class PowerMeter:
    """Average watts from when it is made to when it is read; None where neither GPU nor processor tells."""

    def __init__(self, device: torch.device, *, energy: Path = ENERGY) -> None:
        self._device = device
        self._energy = energy
        self._begun = time.monotonic()
        self._before = self._joules()

    def watts(self) -> float | None:
        if self._device.type == "cuda":
            try:
                return torch.cuda.power_draw(self._device) / 1000
            except (RuntimeError, ModuleNotFoundError):
                return None  # the driver's library is not there
        after = self._joules()
        if self._before is None or after is None or after < self._before:
            return None
        return (after - self._before) / max(time.monotonic() - self._begun, 1e-9)

    def _joules(self) -> float | None:
        try:
            return int(self._energy.read_text("ascii")) / 1e6
        except (OSError, ValueError):
            return None
