"""The files that a take is written to while it comes, and the progress bar beside them.

Knows frames, hashes and paths; nothing of sockets, engines or prompts. Invariants: what was stored is on disk
whatever ends the take; a path that cannot be written is found before the take, not after it.
"""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self, TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from client.video import VideoWriter


@dataclass(frozen=True, slots=True)
class TakeFiles:
    """What is kept of a take. `hashes` gets one SHA-256 a chunk, one a line."""

    video: Path | None = None
    hashes: Path | None = None
    journal: Path | None = None
    comment: str = ""
    """What the video says of itself."""

    def check(self) -> None:
        """Raises FileNotFoundError where a file's folder does not exist, IsADirectoryError for a folder."""
        for path in (self.video, self.hashes, self.journal):
            if path is not None and not path.absolute().parent.is_dir():
                raise FileNotFoundError(2, "expected a path in a folder that exists", str(path))
            if path is not None and path.is_dir():
                raise IsADirectoryError(21, "expected the path of a file, not of a folder", str(path))


class Recorder:
    """A context manager that holds the open files of one take and its progress bar on stderr.

    Args:
        frames: how many are expected, for the bar; None is no bar.
    """

    def __init__(self, files: TakeFiles, *, width: int, height: int, fps: float, frames: int | None) -> None:
        self._paths = files
        self._size = (width, height)
        self._fps = fps
        self._expected = frames
        self._video: VideoWriter | None = None
        self._hashes: TextIO | None = None
        self._bar: tqdm[NoReturn] | None = None
        self._open = ExitStack()

    @property
    def wants_pixels(self) -> bool:
        """Whether frames are needed at all: decoding them costs."""
        return self._paths.video is not None

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            if self._paths.video is not None:
                width, height = self._size
                writer = VideoWriter(
                    self._paths.video, width=width, height=height, fps=self._fps, comment=self._paths.comment
                )
                self._video = opening.enter_context(writer)
            if self._paths.hashes is not None:
                self._hashes = opening.enter_context(self._paths.hashes.open("w", encoding="ascii"))
            if self._expected is not None:
                self._bar = tqdm(total=self._expected, unit="frame", file=sys.stderr, dynamic_ncols=True)
                opening.callback(self._bar.close)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._open.close()

    def store(self, frames: npt.NDArray[np.uint8] | None, *, sha256: str, pts: float) -> None:
        """Write one chunk. `frames` may be None where `wants_pixels` says so; `pts` is that of the first one."""
        if self._video is not None:
            assert frames is not None, "a recorder that wants pixels was given none"
            self._video.append(frames, pts=pts)
        if self._hashes is not None:
            self._hashes.write(sha256 + "\n")
            self._hashes.flush()

    def chapter(self, title: str, *, pts: float) -> None:
        """What is stored from here on was made under this prompt."""
        if self._video is not None:
            self._video.chapter(title, pts=pts)

    def advance(self, frames: int, note: str = "") -> None:
        """Move the bar; `note` stands at its end."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(frames)


def tell(sentence: str) -> None:
    """A line for the person at the terminal, past the progress bar if there is one."""
    tqdm.write(sentence, file=sys.stderr)
