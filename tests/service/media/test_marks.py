"""Marks in frames: read as they were drawn, whatever the format, and not taken for one another."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service.media import Mark, decode_fragment, draw_marks, encode_fragment, init_segment, read_mark
from service.media.marks import MARK_BITS, bits_of, mark_of, mark_pixels

SIZES = [(96, 96), (480, 832), (64, 128)]


def pictures(height: int, width: int) -> npt.NDArray[np.uint8]:
    """A block of which no frame is like another."""
    noise = np.random.default_rng(7).integers(0, 256, (12, height // 8, width // 8, 3), np.uint8)
    return noise.repeat(8, 1).repeat(8, 2)


def through_pictures(frames: npt.NDArray[np.uint8], kind: str, quality: int) -> npt.NDArray[np.uint8]:
    found = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, kind, quality=quality)
        found.append(np.asarray(Image.open(buffer).convert("RGB")))
    return np.stack(found)


@pytest.mark.parametrize("sequence", [0, 77, 65535])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_mark_is_read_as_it_was_drawn(height: int, width: int, sequence: int) -> None:
    frames = pictures(height, width)
    marked = draw_marks(frames, sequence=sequence)
    assert [read_mark(frame) for frame in marked] == [Mark(sequence, place) for place in range(12)]
    below = 2 * mark_pixels(width)
    assert np.array_equal(marked[:, below:], frames[:, below:])
    assert not np.array_equal(marked, frames), "the frames that were given are as they were"


@pytest.mark.parametrize("quality", [1, 25, 100])
@pytest.mark.parametrize("kind", ["jpeg", "webp", "m4s"])
def test_it_outlives_every_format_at_any_quality(kind: str, quality: int) -> None:
    marked = draw_marks(pictures(96, 96), sequence=1234)
    if kind == "m4s":
        init = init_segment(width=96, height=96, fps=16).data
        decoded = decode_fragment(init, encode_fragment(marked, first=0, fps=16, quality=quality, number=1)[1])
    else:
        decoded = through_pictures(marked, kind, quality)
    assert [read_mark(frame) for frame in decoded] == [Mark(1234, place) for place in range(12)]


def test_numbers_come_round() -> None:
    assert mark_of(bits_of(Mark(65536 + 3, 17))) == Mark(3, 1)


def test_a_wrong_bit_is_no_mark() -> None:
    for bits in (bits_of(Mark(sequence, frame)) for sequence in range(40) for frame in range(12)):
        assert 0 <= bits < 2**MARK_BITS
        assert all(mark_of(bits ^ 1 << bit) is None for bit in range(MARK_BITS))


def test_what_has_no_mark_has_none() -> None:
    assert read_mark(np.zeros((96, 96, 3), np.uint8)) is None
    assert read_mark(np.full((96, 96, 3), 255, np.uint8)) is None
