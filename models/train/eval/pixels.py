"""What any video shows without knowing what is in it: jumps between frames, sharpness, saturation, cuts.

Knows bytes of RGB and nothing else, so it measures every preset. All figures are of 255. Shapes: T frames of H x W.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Picture = NDArray[np.float32]

CUT_RATIO: Final = 6.0
CUT_LEAST: Final = 8.0
CUT_NEIGHBOURS: Final = 12
"""A cut is a jump of at least CUT_LEAST that is CUT_RATIO times the median of the CUT_NEIGHBOURS jumps on either side.

The median is of jumps inside the shot: motion raises the bar, and noise in a still picture stays below the least.
"""
REFERENCE_BLOCKS: Final = 3
"""Blocks that later ones are held against; block 0 is not among them, as nothing stands behind it yet."""


def jumps_of(frames_THWC: Frames, before_HWC: Frames | None) -> list[float]:
    """Mean absolute difference of every frame from the one before it; 0 for a frame that has none."""
    first = frames_THWC[:1] if before_HWC is None else before_HWC[None]
    video = np.concatenate([first, frames_THWC]).astype(np.int16)
    return [float(np.abs(now - last).mean()) for last, now in pairwise(video)]


def sharpness_of(frame_HWC: Frames) -> float:
    """Mean size of the Laplacian of brightness: edges and grain."""
    grey = frame_HWC.mean(axis=2)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.abs(around - 4 * grey[1:-1, 1:-1]).mean())


def saturation_of(frame_HWC: Frames) -> float:
    """Mean difference of the largest and the smallest channel."""
    return float((frame_HWC.max(axis=2).astype(np.int16) - frame_HWC.min(axis=2)).mean())


def find_cuts(jumps: Sequence[float]) -> list[int]:
    """The frames that begin a new shot, by the rule at CUT_RATIO."""
    values = np.asarray(jumps)
    cuts = []
    for frame in range(1, len(values)):
        around = np.concatenate(
            [values[max(1, frame - CUT_NEIGHBOURS) : frame], values[frame + 1 : frame + 1 + CUT_NEIGHBOURS]]
        )
        bar = CUT_RATIO * float(np.median(around)) if len(around) else 0.0
        if values[frame] >= max(CUT_LEAST, bar):
            cuts.append(frame)
    return cuts


class Stillness:
    """How far what stands still has moved away from the beginning: fed with blocks, answers for each of them.

    Knows where to look from the rows it is told (the part of the picture in which nothing moves), or else takes the
    half of the pixels that changed least during the blocks it refers to. Those blocks have no answer (0).
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._seen: list[Frames] = []
        self._reference: Picture | None = None
        self._mask: NDArray[np.bool_] | None = None
        self.drift: list[float] = []
        """Of the mean picture of each block from the mean picture of the reference."""
        self.distance: list[float] = []
        """Of single frames: drift and grain together."""

    def feed(self, frames_THWC: Frames) -> None:
        """The next block."""
        if self._reference is None or self._mask is None:
            self._begin(frames_THWC)
            self.drift.append(0.0)
            self.distance.append(0.0)
            return
        middle = frames_THWC.mean(axis=0, dtype=np.float32)
        last = frames_THWC[-1].astype(np.float32)
        for figures, picture in ((self.drift, middle), (self.distance, last)):
            figures.append(float(np.abs(picture - self._reference)[self._mask].mean()))

    def _begin(self, frames_THWC: Frames) -> None:
        self._seen.append(frames_THWC)
        if len(self._seen) <= REFERENCE_BLOCKS:
            return
        early = np.concatenate(self._seen[1:]).astype(np.float32)
        self._reference = early.mean(axis=0)
        if self._rows:
            self._mask = np.zeros(early.shape[1:3], dtype=bool)
            self._mask[: self._rows] = True
        else:
            spread = early.std(axis=0).mean(axis=2)
            self._mask = spread <= np.median(spread)
        self._seen.clear()
