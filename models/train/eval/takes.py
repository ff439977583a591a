"""What is filmed for an evaluation, and what is kept of it: values only.

A take is one stream; where it has changes, it is filmed up to the change once and from there on once for each. A
record holds no pictures, only what was read and measured, so records are small, and are kept between runs. Knows no
engine and no detector.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from cache.recache import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a prompt change is made; `blend` is the number of blocks over which the old prompt fades out."""

    mode: Mode
    blend: int = 0

    @property
    def name(self) -> str:
        return f"{self.mode}, blend of {self.blend}" if self.blend else self.mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """One stream to be filmed and read."""

    prompt: str
    seed: int
    blocks: int
    """In all, or before the change."""
    later: str = ""
    after: int = 0
    """Blocks after the change."""
    changes: tuple[Change, ...] = ()
    read_every: int = 2
    """Frames from one that the detectors read to the next."""
    still_rows: int = 0
    """Rows from the top in which nothing moves; 0 where that is not known."""

    @property
    def key(self) -> str:
        """Tells takes apart, in any run."""
        return sha256(repr(self).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeRecord:
    """What was read from one take; of a take with changes, from the last block before the change on."""

    key: str
    change: str
    """Name of the change, empty where there was none."""
    starts: tuple[int, ...]
    """First frame of every block, counted within the record."""
    read: tuple[int, ...]
    """The frames that were read; the next seven have one entry for each, or none where no detector fits."""
    scene: tuple[int, ...]
    time: tuple[int, ...]
    skyline: tuple[int, ...]
    colour: tuple[int, ...]
    shape: tuple[int, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    score: tuple[float, ...]
    jumps: tuple[float, ...]
    """For every frame, from the frame before it."""
    sharpness: tuple[float, ...]
    """This and the rest: one entry a block."""
    saturation: tuple[float, ...]
    drift: tuple[float, ...]
    distance: tuple[float, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(line: str) -> "TakeRecord":
        """Raises ValueError or TypeError for what is no record."""
        read: dict[str, Any] = json.loads(line)
        values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in read.items()}
        return TakeRecord(**values)
