"""Records without pictures: what a take's record would hold if it were read as told."""

from dataclasses import replace
from typing import Any

from models.train.eval.takes import TakeRecord

FRAMES = 12
"""Of a block."""


def record(blocks: int = 3, *, every: int = 2, change: str = "") -> TakeRecord:
    """A take in which every frame is read as 0, with an object at rest."""
    frames = range(blocks * FRAMES)
    read = tuple(frames[::every])
    same = (0,) * len(read)
    return TakeRecord(
        key="key",
        change=change,
        starts=tuple(frames[::FRAMES]),
        read=read,
        scene=same,
        time=same,
        skyline=same,
        colour=same,
        shape=same,
        x=(0.5,) * len(read),
        y=(0.5,) * len(read),
        score=(0.7,) * len(read),
        jumps=(1.0,) * len(frames),
        sharpness=(4.0,) * blocks,
        saturation=(30.0,) * blocks,
        drift=(0.0,) * blocks,
        distance=(0.0,) * blocks,
    )


def showing(base: TakeRecord, name: str, *, value: int, first: int, end: int | None = None) -> TakeRecord:
    """The record with an attribute read as `value` in the frames first..end-1."""
    found: tuple[int, ...] = getattr(base, name)
    last = len(base.jumps) if end is None else end
    changed = tuple(value if first <= frame < last else one for frame, one in zip(base.read, found, strict=True))
    values: dict[str, Any] = {name: changed}
    return replace(base, **values)
