"""Recorder and TakeFiles: what is asked for is written, nothing else, and paths are checked first."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from client.recording import Recorder, TakeFiles, tell


def recorder(files: TakeFiles) -> Recorder:
    return Recorder(files, width=32, height=16, fps=16, frames=24)


def test_nothing_is_written_where_nothing_is_asked_for(tmp_path: Path) -> None:
    with recorder(TakeFiles()) as recording:
        assert not recording.wants_pixels
        recording.store(None, sha256="ab", pts=0.0)
        recording.advance(12, "fine")
    assert list(tmp_path.iterdir()) == []


def test_hashes_are_on_disk_as_soon_as_they_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "hashes.txt"
    with recorder(TakeFiles(hashes=path)) as recording:
        recording.store(None, sha256="ab", pts=0.0)
        recording.store(None, sha256="cd", pts=0.75)
        assert path.read_text() == "ab\ncd\n"


def test_video_is_written_and_pixels_are_wanted_for_it(tmp_path: Path) -> None:
    path = tmp_path / "take.mp4"
    with recorder(TakeFiles(video=path)) as recording:
        assert recording.wants_pixels
        recording.store(np.zeros((12, 16, 32, 3), dtype=np.uint8), sha256="ab", pts=0.0)
        with pytest.raises(AssertionError, match="wants pixels"):
            recording.store(None, sha256="cd", pts=0.75)
    assert path.stat().st_size > 0


def test_first_file_is_closed_if_the_second_cannot_be_opened(tmp_path: Path) -> None:
    files = TakeFiles(video=tmp_path / "take.mp4", hashes=tmp_path / "no" / "hashes.txt")
    with pytest.raises(FileNotFoundError), recorder(files):
        pass


@pytest.mark.parametrize("name", ["video", "hashes", "journal"])
def test_paths_are_checked(tmp_path: Path, name: str) -> None:
    def files(path: Path) -> TakeFiles:
        return replace(TakeFiles(), **{name: path})  # type: ignore[arg-type]

    files(tmp_path / "new").check()
    with pytest.raises(FileNotFoundError, match="a folder that exists"):
        files(tmp_path / "no" / "new").check()
    with pytest.raises(IsADirectoryError, match="the path of a file"):
        files(tmp_path).check()


def test_a_prompt_is_a_chapter_of_the_video_and_the_comment_says_what_made_it(tmp_path: Path) -> None:
    path = tmp_path / "take.mp4"
    taking = Recorder(TakeFiles(video=path, comment="made here"), width=96, height=64, fps=16, frames=36)
    with taking:
        for number, title in enumerate(["a red ball", "a red ball", "snow"]):
            taking.chapter(title, pts=number * 0.75)
            taking.store(np.zeros((12, 64, 96, 3), dtype=np.uint8), sha256="", pts=number * 0.75)
    with av.open(str(path)) as container:
        chapters = [(chapter["start"] / 10_000_000, chapter["metadata"]["title"]) for chapter in container.chapters()]
        assert container.metadata["comment"] == "made here"
    assert chapters == [(0, "a red ball"), (1.5, "snow")]


def test_sentences_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with recorder(TakeFiles()):
        tell("a word")
    captured = capsys.readouterr()
    assert "a word" in captured.err
    assert captured.out == ""
