"""Stills: of which chunks, how large, and what happens where they cannot be written."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.worker.thumbnails import CHUNKS_WITH_STILL, MOST_PIXELS_WIDE, write_thumbnail


def test_the_first_chunks_give_a_still_that_keeps_its_proportions(tmp_path: Path) -> None:
    path = tmp_path / "still.jpg"
    frames = np.zeros((3, 480, 832, 3), dtype=np.uint8)
    frames[1, ..., 0] = 255
    for sequence in range(8):
        path.unlink(missing_ok=True)
        write_thumbnail(path, frames, sequence=sequence)
        assert path.is_file() is (sequence in CHUNKS_WITH_STILL)
    write_thumbnail(path, frames, sequence=0)
    with Image.open(path) as still:
        assert still.size == (MOST_PIXELS_WIDE, 185)
        assert still.convert("RGB").getpixel((5, 5)) == (254, 0, 0)
    assert [file.name for file in tmp_path.iterdir()] == ["still.jpg"]


def test_a_small_picture_is_not_blown_up(tmp_path: Path) -> None:
    write_thumbnail(tmp_path / "a.jpg", np.zeros((1, 96, 96, 3), dtype=np.uint8), sequence=0)
    with Image.open(tmp_path / "a.jpg") as still:
        assert still.size == (96, 96)


def test_where_it_cannot_be_written_nothing_stops(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_thumbnail(tmp_path / "none" / "a.jpg", np.zeros((1, 8, 8, 3), dtype=np.uint8), sequence=0)
    assert "cannot be written" in caplog.text
    write_thumbnail(tmp_path / "a.jpg", np.zeros((0, 8, 8, 3), dtype=np.uint8), sequence=0)
    assert list(tmp_path.iterdir()) == []
