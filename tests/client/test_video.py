"""VideoWriter: what is written can be read back, frame for frame and time stamp for time stamp."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from client.video import VideoWriter


def moving_squares(count: int, height: int = 64, width: int = 96) -> npt.NDArray[np.uint8]:
    """Frames that differ from each other and whose colours are far from grey."""
    frames = np.zeros((count, height, width, 3), dtype=np.uint8)
    frames[..., 0], frames[..., 1], frames[..., 2] = 40, 160, 220
    for index in range(count):
        left = index % (width - 16)
        frames[index, 16:32, left : left + 16] = (230, 60, 20)
    return frames


def read_back(path: Path) -> tuple[list[Fraction], npt.NDArray[np.uint8]]:
    """Time stamps in seconds, and the pictures."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        times = [Fraction(frame.pts or 0) * (frame.time_base or Fraction(0)) for frame in decoded]
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    return times, pictures.astype(np.uint8)


@pytest.mark.parametrize(("fps", "rate"), [(16.0, Fraction(16)), (30000 / 1001, Fraction(30000, 1001))])
def test_every_frame_comes_back_with_its_exact_time_stamp(tmp_path: Path, fps: float, rate: Fraction) -> None:
    frames = moving_squares(45)
    path = tmp_path / "take.mp4"
    with VideoWriter(path, width=96, height=64, fps=fps) as writer:
        for first in range(0, 45, 9):
            writer.append(frames[first : first + 9])
    times, pictures = read_back(path)
    assert writer.frames == 45
    assert times == [index / rate for index in range(45)]
    assert np.abs(pictures.astype(int) - frames).mean() < 4.0


def test_file_is_ordinary_h264_with_its_colours_stated(tmp_path: Path) -> None:
    path = tmp_path / "take.mp4"
    with VideoWriter(path, width=96, height=64, fps=16) as writer:
        writer.append(moving_squares(20))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt, codec.width, codec.height) == ("h264", "yuv420p", 96, 64)
        assert (stream.frames, stream.average_rate) == (20, Fraction(16))
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)


def test_time_stamps_given_may_leave_a_gap_but_never_go_back(tmp_path: Path) -> None:
    path = tmp_path / "take.mp4"
    with VideoWriter(path, width=96, height=64, fps=16) as writer:
        writer.append(moving_squares(12), pts=0.0)
        writer.append(moving_squares(12), pts=1.5)
        with pytest.raises(ValueError, match=r"expected a time stamp of 2\.25 s or later, got 1\.5 s|9/4"):
            writer.append(moving_squares(12), pts=1.5)
    times, _ = read_back(path)
    assert times == [Fraction(index, 16) for index in [*range(12), *range(24, 36)]]


def test_half_written_file_can_be_read(tmp_path: Path) -> None:
    path, copy = tmp_path / "take.mp4", tmp_path / "copy.mp4"
    with VideoWriter(path, width=96, height=64, fps=16) as writer:
        for _ in range(20):
            writer.append(moving_squares(12))
        copy.write_bytes(path.read_bytes())
    times, _ = read_back(copy)
    assert 64 <= len(times) < 240
    assert times == [Fraction(index, 16) for index in range(len(times))]


def test_close_twice_and_empty_file(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "empty.mp4", width=96, height=64, fps=16)
    writer.close()
    writer.close()
    assert writer.frames == 0


@pytest.mark.parametrize(
    ("width", "height", "fps"), [(95, 64, 16), (96, 63, 16), (0, 64, 16), (96, 64, 0), (96, 64, -1)]
)
def test_impossible_sizes_and_rates_are_refused(tmp_path: Path, width: int, height: int, fps: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        VideoWriter(tmp_path / "take.mp4", width=width, height=height, fps=fps)


def test_frames_of_another_shape_or_type_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "take.mp4", width=96, height=64, fps=16) as writer:
        with pytest.raises(ValueError, match=r"expected uint8 frames \[N, 64, 96, 3\], got uint8 \[2, 96, 64, 3\]"):
            writer.append(np.zeros((2, 96, 64, 3), dtype=np.uint8))
        with pytest.raises(ValueError, match="got float32"):
            writer.append(np.zeros((2, 64, 96, 3), dtype=np.float32))
        assert writer.frames == 0
