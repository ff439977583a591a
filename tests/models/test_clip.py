"""Films as frames: the session's rate and size, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from models.clip import read_clip
from models.errors import OpeningError
from models.vae import RGB24
from tests.models.pictures import noise, png, write_film


def grey_frames(count: int, *, width: int = 32, height: int = 16) -> RGB24:
    """Frame number n is of grey 10 n."""
    levels = (np.arange(count) * 10 % 256).astype(np.uint8)
    return np.repeat(levels, height * width * 3).reshape(count, height, width, 3)


def levels(frames: RGB24) -> list[int]:
    return [round(float(frame.mean()) / 10) for frame in frames]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (16, list(range(12))),
        (8, [n // 2 for n in range(24)]),
        (32, list(range(0, 12, 2))),
        (24, [0, 1, 3, 4, 6, 7, 9, 10]),
    ],
)
def test_the_frame_that_is_shown_at_each_moment(tmp_path: Path, rate: int, expected: list[int]) -> None:
    path = write_film(tmp_path / "film.mkv", grey_frames(12), fps=rate)
    frames = read_clip(path, width=32, height=16, fps=16, frames=1000)
    assert levels(frames) == expected


def test_no_more_frames_than_asked_for_are_read(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mkv", grey_frames(24), fps=16)
    for count in (1, 9, 21):
        assert levels(read_clip(path, width=32, height=16, fps=16, frames=count)) == list(range(count))


def test_frames_are_scaled_and_cut_as_pictures_are(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mkv", np.stack([noise(64, 32, seed=n) for n in range(3)]), fps=16)
    frames = read_clip(path, width=16, height=24, fps=16, frames=9)
    assert frames.shape == (3, 24, 16, 3)
    assert frames.dtype == np.uint8


def test_a_clip_that_is_taken_whole_is_unchanged(tmp_path: Path) -> None:
    film = np.stack([noise(32, 16, seed=n) for n in range(5)])
    path = write_film(tmp_path / "film.mkv", film, fps=16)
    assert np.array_equal(read_clip(path, width=32, height=16, fps=16, frames=9), film)


@pytest.mark.parametrize("content", [b"", b"no film", bytes(4096)])
def test_what_is_no_film_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(OpeningError, match=r"film\.mp4: a clip must be a film file") as caught:
        read_clip(path, width=16, height=16, fps=16, frames=9)
    assert (caught.value.code, caught.value.field) == ("clip_invalid", "clip")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OpeningError, match=r"none\.mp4"):
        read_clip(tmp_path / "none.mp4", width=16, height=16, fps=16, frames=9)


def test_a_still_picture_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "still.png"
    path.write_bytes(png(noise(16, 16)))
    assert len(read_clip(path, width=16, height=16, fps=16, frames=9)) <= 1
