"""The mark of a frame in the service's test mode: which chunk it is of and which frame of it, in squares of its pixels.

Knows pixels; nothing of sessions, encoders or browsers. Invariants: a mark that is read is the one that was drawn, also
after JPEG, WebP and H.264 at any quality that is used (a square is a block of theirs, or several); of what is no mark
one in sixteen is taken for one at most, for four of the 24 bits check the others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MARK_BITS = 24
"""16 of the chunk's number, 4 of the frame's place in it, 4 that check them; the highest first."""
MARK_COLUMNS = 12
"""Squares side by side; the second half of the bits is in a second row."""
MARK_ROWS = MARK_BITS // MARK_COLUMNS
_MOST_PIXELS = 16


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """`sequence` of the chunk, modulo 65,536, and the number of the frame in it, modulo 16."""

    sequence: int
    frame: int


def mark_pixels(width: int) -> int:
    """Width and height of one square in a picture of this width."""
    return max(1, min(_MOST_PIXELS, width // MARK_COLUMNS))


def bits_of(mark: Mark) -> int:
    number = (mark.sequence % 65536) * 16 + mark.frame % 16
    return number * 16 + _check(number)


def mark_of(bits: int) -> Mark | None:
    """None where the check does not fit: what was read is no mark."""
    number, check = divmod(bits, 16)
    return Mark(*divmod(number, 16)) if check == _check(number) else None


def draw_marks(frames: npt.NDArray[np.uint8], *, sequence: int) -> npt.NDArray[np.uint8]:
    """A copy of a chunk's frames, uint8 [frames, height, width, 3], with their marks in the corner at the top left."""
    marked, size = frames.copy(), mark_pixels(frames.shape[2])
    for place, frame in enumerate(marked):
        bits = bits_of(Mark(sequence, place))
        squares = np.array([bits >> (MARK_BITS - 1 - bit) & 1 for bit in range(MARK_BITS)], np.uint8)
        drawn = squares.reshape(MARK_ROWS, MARK_COLUMNS).repeat(size, 0).repeat(size, 1) * np.uint8(255)
        frame[: MARK_ROWS * size, : MARK_COLUMNS * size] = drawn[..., None]
    return marked


def read_mark(frame: npt.NDArray[np.uint8]) -> Mark | None:
    """The mark of a picture, uint8 [height, width, 3], by the middle of each square; None where there is none."""
    size = mark_pixels(frame.shape[1])
    rows, columns = (size // 2 + size * np.arange(count) for count in (MARK_ROWS, MARK_COLUMNS))
    bright = frame[np.ix_(rows, columns)].mean(axis=-1) > 127
    return mark_of(int("".join("1" if bit else "0" for bit in bright.ravel()), 2))


def _check(number: int) -> int:
    return (sum(int(digit, 16) for digit in f"{number:x}") + 5) % 16
