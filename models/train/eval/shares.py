"""Shares of takes with their intervals, and what is left of a share when chance is taken out.

Plain arithmetic on numbers; knows no takes and no pictures. The unit is the take: frames of one take go wrong together,
so a share of frames is averaged over takes and its interval is that of as many takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

Z: Final = 1.959964
"""Two-sided 95 %."""
RESAMPLES: Final = 2000
RESAMPLE_SEED: Final = 5


@dataclass(frozen=True, slots=True)
class Share:
    """A share of `total` takes with its 95 % interval after Wilson; `total` 0 means that nothing could be said."""

    value: float
    low: float
    high: float
    total: int

    def without_chance(self, classes: int) -> "Share":
        """The same with chance taken out: (share - chance) / (1 - chance)."""
        chance = 1 / classes
        value, low, high = ((part - chance) / (1 - chance) for part in (self.value, self.low, self.high))
        return Share(value, low, high, self.total)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two means over the same takes, with its 95 % interval by resampling the takes."""

    value: float
    low: float
    high: float
    total: int


def share_of(parts: Sequence[float]) -> Share:
    """The mean of every take's own share (0 or 1 where a take is right or wrong as a whole)."""
    total = len(parts)
    if total == 0:
        return Share(0.0, 0.0, 1.0, 0)
    value = float(np.mean(parts))
    centre = (value + Z**2 / (2 * total)) / (1 + Z**2 / total)
    reach = Z / (1 + Z**2 / total) * sqrt(value * (1 - value) / total + Z**2 / (4 * total**2))
    # Rounding must not put an end of the interval past the value itself, which is 0 or 1 at the ends.
    return Share(value, min(max(0.0, centre - reach), value), max(min(1.0, centre + reach), value), total)


def ratio_of(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """The mean of `over` by the mean of `under`, entry by entry of the same takes."""
    above, below = np.asarray(over, dtype=float), np.asarray(under, dtype=float)
    if len(above) == 0:
        return Ratio(0.0, 0.0, float("inf"), 0)
    chosen = np.random.default_rng(RESAMPLE_SEED).integers(len(above), size=(RESAMPLES, len(above)))
    means = above[chosen].mean(axis=1) / np.maximum(below[chosen].mean(axis=1), 1e-9)
    low, high = np.quantile(means, [0.025, 0.975])
    return Ratio(float(above.mean() / max(below.mean(), 1e-9)), float(low), float(high), len(above))
