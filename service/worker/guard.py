"""Looks at every block before it leaves: black, saturated or frozen pictures that no prompt can have meant.

Knows pixels and latents, and what the take's last blocks looked like; knows nothing of engines or sessions. A picture
is held against the take's own past: a night, a snowfield or a still object are what they were before. What is not
finite the engine finds itself.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from service.worker.engine import Frames

REMEMBERED: Final = 8
"""Blocks of the past that a block is held against."""
SAMPLED_ROWS: Final = 48
"""Of a frame, about; every so many-th pixel of a row, too."""
FLAT_LEVEL: Final = 6.0
"""Of 255: how far the mean of a black frame is from black at most, that of a white one from white."""
FLAT_SPREAD: Final = 2.0
"""Standard deviation of a frame in which nothing can be made out."""
EXTREME: Final = 3
"""Levels at either end that count as clipped."""
SATURATED_SHARE: Final = 0.6
"""Clipped values, of all values of a frame..."""
SATURATED_END: Final = 0.15
"""...at either end: a night is clipped at one end, a snowfield at the other, colours burnt out at both."""
SATURATED_RISE: Final = 0.3
"""Above the most that the past has had."""
FROZEN_DIFFERENCE: Final = 5e-4
"""Root mean square of the difference of two blocks' latents, over that of the latents: about one rounding of them.

Two blocks come from different noise, so even of an object that does not move they differ by far more.
"""


@dataclass(frozen=True, slots=True)
class Look:
    """A block in a few facts, each of the frame that is worst in it."""

    black: bool
    white: bool
    clipped: float
    """Share of clipped values; 0 where they are at one end only."""


class BlockGuard:
    """One take's guard. `check` looks at a block; `accept` remembers the one that was looked at last."""

    def __init__(self) -> None:
        self._look: Look | None = None
        self._looks: deque[Look] = deque(maxlen=REMEMBERED)
        self._latents: Tensor | None = None

    def check(self, latents_FCHW: Tensor, frames_THW3: Frames) -> str | None:
        """What is wrong with a block: `black`, `saturated` or `frozen`; None if nothing is."""
        look = self._look = look_at(frames_THW3)
        if look.black and not any(past.black for past in self._looks):
            return "black"
        if look.white and not any(past.white for past in self._looks):
            return "saturated"
        most = max((past.clipped for past in self._looks), default=0.0)
        if look.clipped > SATURATED_SHARE and look.clipped > most + SATURATED_RISE:
            return "saturated"
        if self._latents is not None and difference(latents_FCHW, self._latents) <= FROZEN_DIFFERENCE:
            return "frozen"
        return None

    def accept(self, latents_FCHW: Tensor) -> None:
        """The block leaves. One that was given, and so not looked at, is only the past of what comes."""
        if self._look is not None:
            self._looks.append(self._look)
        self._look, self._latents = None, latents_FCHW

    def forget(self) -> None:
        """The session goes on from elsewhere: what was made last is not the past of what comes."""
        self._looks.clear()
        self._latents = None


def look_at(frames_THW3: Frames) -> Look:
    step = max(1, frames_THW3.shape[1] // SAMPLED_ROWS)
    sample: npt.NDArray[np.uint8] = np.ascontiguousarray(frames_THW3[:, ::step, ::step]).reshape(len(frames_THW3), -1)
    levels = sample.mean(axis=1)
    flat = sample.std(axis=1) < FLAT_SPREAD
    low, high = (sample < EXTREME).mean(axis=1), (sample > 255 - EXTREME).mean(axis=1)
    clipped = np.where(np.minimum(low, high) >= SATURATED_END, low + high, 0.0)
    return Look(
        black=bool((flat & (levels < FLAT_LEVEL)).any()),
        white=bool((flat & (levels > 255 - FLAT_LEVEL)).any()),
        clipped=float(clipped.max()),
    )


def difference(latents: Tensor, others: Tensor) -> float:
    """Root mean square of the difference, over that of the latents; infinite where they are not of one shape."""
    if latents.shape != others.shape:
        return float("inf")
    one, other = latents.float(), others.float()
    return float((one - other).square().mean().sqrt() / other.square().mean().sqrt().clamp_min(1e-12))
