"""Contact sheets: as many stills as were asked for, the first and the last frame among them, in their places."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.sheet import SheetError, make_sheet
from client.video import VideoWriter


def film(path: Path, frames: int) -> Path:
    """Frame n is grey of 5 * n."""
    with VideoWriter(path, width=96, height=64, fps=16) as writer:
        for number in range(frames):
            writer.chapter("a red ball" if number < 12 else "snow, schön")
            writer.append(np.full((1, 64, 96, 3), 5 * number, np.uint8))
    return path


@pytest.mark.parametrize(("frames", "stills", "columns", "shown"), [(40, 8, 4, 8), (3, 20, 5, 3), (1, 20, 5, 1)])
def test_stills_are_evenly_over_the_video(tmp_path: Path, frames: int, stills: int, columns: int, shown: int) -> None:
    out = tmp_path / "sheet.png"
    facts = make_sheet(film(tmp_path / "a.mp4", frames), out, columns=columns, stills=stills, width=96)
    assert (facts.frames, facts.stills, facts.seconds) == (frames, shown, frames / 16)
    assert facts.chapters == (2 if frames > 12 else 1)
    columns = min(columns, shown)
    sheet = np.asarray(Image.open(out).convert("L")).astype(int)
    middles = [sheet[4 + 32 + n // columns * 82, 4 + 48 + n % columns * 100] for n in range(shown)]
    wanted = [5 * round(n * (frames - 1) / max(1, shown - 1)) for n in range(shown)]
    assert np.abs(np.array(middles) - wanted).max() <= 3
    assert sheet.shape == (4 + 82 * -(-shown // columns), 4 + 100 * columns)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(SheetError, match="expected a video"):
        make_sheet(tmp_path / "a.mp4", tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        make_sheet(tmp_path / "none.mp4", tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
