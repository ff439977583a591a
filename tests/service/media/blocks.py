"""Blocks of pictures whose every frame can be told from every other, also after H.264."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from service.media import encode_fragment, init_segment

WIDTH, HEIGHT, FPS = 96, 64, 16
BLOCKS = (9, 12, 12, 1, 12)
"""Frames of each block: a scene's first one may have fewer."""

Frames = npt.NDArray[np.uint8]


def numbered(first: int, count: int) -> Frames:
    """Frames [count, 64, 96, 3] that have their number as eight bright or dark squares, on ground that changes."""
    frames = np.zeros((count, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for index in range(count):
        number = first + index
        frames[index] = (60 + number % 40, 90, 150 - number % 50)
        for bit in range(8):
            frames[index, 24:40, 8 + 10 * bit : 18 + 10 * bit] = 235 if number >> bit & 1 else 16
    return frames


def number_of(frame: Frames) -> int:
    """The number in such a frame, as the middles of its squares say."""
    return sum(1 << bit for bit in range(8) if frame[32, 13 + 10 * bit].mean() > 128)


def pixels_of(frame: av.VideoFrame) -> Frames:
    return frame.to_ndarray(format="rgb24").astype(np.uint8)


def fragments(sizes: Sequence[int] = BLOCKS, *, quality: int = 85) -> list[bytes]:
    """Blocks behind each other, with these numbers of frames."""
    made, first = [], 0
    for number, count in enumerate(sizes):
        made.append(encode_fragment(numbered(first, count), first=first, fps=FPS, quality=quality, number=number)[1])
        first += count
    return made


def init() -> bytes:
    return init_segment(width=WIDTH, height=HEIGHT, fps=FPS).data


def file_of_fragments(path: Path, sizes: Sequence[int] = BLOCKS) -> Path:
    path.write_bytes(init() + b"".join(fragments(sizes)))
    return path
