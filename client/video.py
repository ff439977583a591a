"""Frames into an MP4 file (H.264, yuv420p), written as they come.

Knows numpy arrays and PyAV; nothing of sessions, chunks or prompts. Invariants: a frame with time stamp pts stands
at exactly round(pts * fps) / fps; the file can be read up to its last key frame at any moment, even if the program
dies, and once closed it is an ordinary MP4 with its index first, its comment and its chapters.
"""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from service.media import Chapter, finish_film
from service.media.fragments import as_yuv, state_colours

# hybrid_fragmented: fragments while it is written, one index once it is closed.
_CONTAINER_OPTIONS = {"movflags": "hybrid_fragmented", "flush_packets": "1"}
_THREADS = 2  # few, so that whoever makes the frames is not slowed down


class VideoWriter:
    """One MP4 file of frames of one size. Use it as a context manager, or call `close`.

    Args:
        fps: frames a second; a fraction is kept exactly as far as a denominator of 1001 goes.
        crf: x264's quality, smaller is better; 18 cannot be told from the source by eye.
        comment: what the file says of itself.
    """

    def __init__(
        self, path: str | Path, *, width: int, height: int, fps: float, crf: int = 18, comment: str = ""
    ) -> None:
        if width <= 0 or height <= 0 or width % 2 or height % 2:
            raise ValueError(f"expected an even width and height above 0 for yuv420p, got {width}x{height}")
        if not fps > 0:
            raise ValueError(f"expected frames per second above 0, got {fps}")
        self.width, self.height = width, height
        self.frames = 0
        self._path = Path(path)
        self._chapters: list[Chapter] = []
        self._rate = Fraction(fps).limit_denominator(1001)
        self._next_index = 0
        self._closed = False
        self._reformatter = VideoReformatter()
        self._container = av.open(str(path), "w", format="mp4", options=_CONTAINER_OPTIONS)
        if comment:
            self._container.metadata["comment"] = comment
        # Without B-frames decode order is display order, so no time stamp is shifted. A key frame every two seconds.
        options = {"crf": str(crf), "preset": "veryfast", "bf": "0", "g": str(max(1, round(2 * fps)))}
        self._stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.time_base = 1 / self._rate
        codec = self._stream.codec_context
        codec.time_base = 1 / self._rate
        codec.thread_count = _THREADS
        state_colours(codec)

    def append(self, frames: npt.NDArray[np.uint8], *, pts: float | None = None) -> None:
        """Add frames (uint8, [N, height, width, 3], RGB).

        Args:
            pts: media seconds of the first one; by default they follow the last frame. A later time leaves a gap
                in which the last frame stays; an earlier one than the last frame's is a ValueError.
        """
        expected = (self.height, self.width, 3)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != expected:
            wanted = f"uint8 frames [N, {self.height}, {self.width}, 3]"
            raise ValueError(f"expected {wanted}, got {frames.dtype} {list(frames.shape)}")
        if pts is not None:
            index = round(pts * self._rate)
            if index < self._next_index:
                raise ValueError(f"expected a time stamp of {self._next_index / self._rate} s or later, got {pts} s")
            self._next_index = index
        for frame in frames:
            self._encode(frame)

    def chapter(self, title: str, *, pts: float | None = None) -> None:
        """What comes next is a chapter of its own, unless it goes on with the last one; `pts` as in `append`."""
        seconds = float(self._next_index / self._rate) if pts is None else pts
        if self._chapters and self._chapters[-1].title == title:
            return
        self._chapters = [chapter for chapter in self._chapters if chapter.seconds < seconds]
        self._chapters.append(Chapter(seconds, title))

    def _encode(self, pixels_HW3: npt.NDArray[np.uint8]) -> None:
        picture = as_yuv(pixels_HW3, self._reformatter, index=self._next_index, rate=self._rate)
        self._container.mux(self._stream.encode(picture))
        self._next_index += 1
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder still holds, the index and the chapters. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self.frames:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()
        if self.frames:
            end = float(self._next_index / self._rate)
            chapters = [chapter for chapter in self._chapters if chapter.seconds < end]
            finish_film(self._path, self._path, chapters=chapters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
