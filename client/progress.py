"""The progress bar of a video that is being made.

Knows videos and tqdm; nothing of HTTP. Invariant: it writes to stderr only, and only where that is a terminal.
"""

import sys
from types import TracebackType
from typing import NoReturn, Self

from tqdm import tqdm

from client.video_values import Video

_WHOLE = 100


class VideoBar:
    """A context manager. `shown`: there is a bar if stderr is a terminal."""

    def __init__(self, video: str, *, shown: bool) -> None:
        self._bar: tqdm[NoReturn] = tqdm(
            total=_WHOLE, unit="%", desc=video, file=sys.stderr, dynamic_ncols=True, disable=None if shown else True
        )

    def show(self, video: Video) -> None:
        """Progress goes back where a video is made again."""
        self._bar.n = video.progress
        self._bar.set_postfix_str(video.status, refresh=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
