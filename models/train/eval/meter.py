"""Reads and measures a take while it is made, block by block, so that no take has to fit into memory.

Knows frames as bytes, the pixel measures and, where there are any, the detectors; knows no engine.
"""

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.train.detectors import Detectors, Reading
from models.train.eval.pixels import Frames, Stillness, jumps_of, saturation_of, sharpness_of
from models.train.eval.takes import TakeRecord


class Meter:
    """Fed with the blocks of one take."""

    def __init__(self, detectors: Detectors | None, *, read_every: int, still_rows: int) -> None:
        self._detectors = detectors
        self._read_every = read_every
        self._stillness = Stillness(still_rows)
        self._last: Frames | None = None
        self._frames = 0
        self._starts: list[int] = []
        self._read: list[int] = []
        self._readings: list[Reading] = []
        self._jumps: list[float] = []
        self._sharpness: list[float] = []
        self._saturation: list[float] = []

    def feed(self, frames_THWC: Frames) -> None:
        """The next block."""
        self._starts.append(self._frames)
        self._jumps += jumps_of(frames_THWC, self._last)
        self._sharpness.append(sharpness_of(frames_THWC[-1]))
        self._saturation.append(saturation_of(frames_THWC[-1]))
        self._stillness.feed(frames_THWC)
        if self._detectors is not None:
            first = -self._frames % self._read_every
            self._read += range(self._frames + first, self._frames + len(frames_THWC), self._read_every)
            self._readings.append(self._detectors.read(to_pixels(frames_THWC[first :: self._read_every])))
        self._frames += len(frames_THWC)
        self._last = frames_THWC[-1]

    def record(self, key: str, *, change: str = "") -> TakeRecord:
        """What there is so far."""
        found: dict[str, Any] = {field.name: self._all(field.name) for field in fields(Reading)}
        return TakeRecord(
            key=key,
            change=change,
            starts=tuple(self._starts),
            read=tuple(self._read),
            jumps=_rounded(self._jumps),
            sharpness=_rounded(self._sharpness),
            saturation=_rounded(self._saturation),
            drift=_rounded(self._stillness.drift),
            distance=_rounded(self._stillness.distance),
            **found,
        )

    def _all(self, name: str) -> tuple[int | float, ...]:
        parts: list[Tensor] = [getattr(reading, name) for reading in self._readings]
        values = torch.cat(parts) if parts else torch.zeros(0)
        return _rounded(values.tolist()) if values.is_floating_point() else tuple(values.tolist())


def to_pixels(frames_THWC: Frames) -> Tensor:
    """Frames [T,3,H,W] in [0,1] from bytes."""
    return torch.from_numpy(np.ascontiguousarray(frames_THWC)).permute(0, 3, 1, 2).float() / 255


def _rounded(values: list[float]) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values)
