"""A film file as frames of a session's size and rate: what a stream can begin with, when one picture is too little.

Shape: [T, H, W, 3] RGB24. The frame shown at each moment of the session's own clock is taken, so any rate fits, and
reading stops as soon as there are enough. Sound and later streams are passed over. Knows no model; whatever the file
holds, the answer is frames or an OpeningError.
"""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

from models.errors import OpeningError
from models.picture import MAX_PICTURE_PIXELS, fit
from models.vae import RGB24

_SLACK = 0.002
"""Seconds: times in a file are rounded, often to a thousandth."""


def read_clip(path: Path, *, width: int, height: int, fps: int, frames: int) -> RGB24:
    """The first `frames` frames at `fps`, or all there are. Raises OpeningError: `clip_invalid`."""
    taken: list[RGB24] = []
    try:
        with av.open(str(path), mode="r") as container:
            for picture in _at_rate(container, fps=fps, frames=frames):
                taken.append(fit(_upright(picture), width=width, height=height))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _refused(path, f"one that cannot be read ({error})") from error
    if not taken:
        raise _refused(path, "one without a frame")
    return np.stack(taken)


def _at_rate(container: av.container.InputContainer, *, fps: int, frames: int) -> Iterator[av.VideoFrame]:
    """What is shown at each of the first `frames` moments of the session's clock."""
    count = 0
    for picture, until in _shown(container, shortest=1 / fps):
        while count < frames and count / fps < until - _SLACK:
            yield picture
            count += 1
        if count >= frames:
            return


def _shown(container: av.container.InputContainer, *, shortest: float) -> Iterator[tuple[av.VideoFrame, float]]:
    """Each frame with the second, counted from the first frame, at which another takes its place.

    `shortest`: how long the last frame stands where the file does not say.
    """
    if not container.streams.video:
        raise ValueError("it has no pictures")
    last: av.VideoFrame | None = None
    started = 0.0
    for frame in container.decode(container.streams.video[0]):
        now = _time(frame)
        if last is None:
            started = now
        else:
            yield last, now - started
        last = frame
    if last is not None:
        duration = float(last.duration * last.time_base) if last.duration and last.time_base else shortest
        yield last, _time(last) - started + duration


def _upright(frame: av.VideoFrame) -> Image.Image:
    """Turned as the file says (counter-clockwise, by quarters): films made on a telephone often lie on their side."""
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90) % 4)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _time(frame: av.VideoFrame) -> float:
    if frame.width * frame.height > MAX_PICTURE_PIXELS:
        raise ValueError(f"its frames are of {frame.width}x{frame.height} pixels")
    if frame.time is None:
        raise ValueError("its frames do not say when they are shown")
    return frame.time


def _refused(path: Path, found: str) -> OpeningError:
    message = f"{path}: a clip must be a film file, not {found[:200]}"
    return OpeningError(message, field="clip", code="clip_invalid")
