"""A video in a terminal: two pixels a character, in true colour, and a line below to type into.

Knows pixels and the escape codes of terminals; nothing of sessions. Invariants: what was on the screen before is there
again when the picture is closed; a picture is as large as fits, with its proportions, and never larger than it is.
"""

import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TextIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from client.chunk import Chunk

Pixels = npt.NDArray[np.uint8]
_HALF = "▀"
_LINES_BELOW = 2  # what is said, and what is typed
_ENTER, _LEAVE = "\x1b[?1049h\x1b[2J", "\x1b[0m\x1b[?1049l"


def fitted(pixels: Pixels, *, columns: int, lines: int) -> Pixels:
    """The picture (uint8 [height, width, 3]) made smaller until it fits into so many characters; its height is even."""
    height, width = pixels.shape[:2]
    scale = min(1.0, columns / width, 2 * lines / height)
    size = (max(1, int(width * scale)), max(2, int(height * scale) // 2 * 2))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), dtype=np.uint8)


def half_blocks(pixels: Pixels) -> list[str]:
    """Lines of upper half blocks: the colour of a character is the upper pixel, its ground the lower one."""
    upper, lower = pixels[0::2], pixels[1::2]
    return [_line(above, below) for above, below in zip(upper, lower, strict=True)]


def _line(above: Pixels, below: Pixels) -> str:
    """Colours are said where they change."""
    said, before = list[str](), None
    for pair in np.concatenate([above, below], axis=1).tolist():
        if pair != before:
            said.append("\x1b[38;2;{};{};{};48;2;{};{};{}m".format(*pair))
            before = pair
        said.append(_HALF)
    return "".join(said) + "\x1b[0m"


@dataclass(slots=True)
class TerminalScreen:
    """A context manager: while it is open, the terminal shows what was painted last."""

    out: TextIO
    columns: int = 0
    lines: int = 0
    painted: int = 0
    _waiting: deque[tuple[float, Pixels]] = field(default_factory=deque)
    _typed: int = 0

    def __enter__(self) -> Self:
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(_LEAVE)

    def add(self, chunk: Chunk) -> None:
        """Frames to come. Raises ProtocolViolation where they cannot be decoded."""
        for part, pixels in zip(chunk.metadata.frames, chunk.numpy(), strict=True):
            self._waiting.append((part.pts, pixels))

    def take_back(self, pts: float) -> None:
        """What begins at this second of the video or later is not shown."""
        self._waiting = deque(frame for frame in self._waiting if frame[0] < pts)

    def paint(self, position: float | None, *, note: str = "") -> bool:
        """Show the newest frame that is due at this second of the video, or the newest of all. False: it is there."""
        newest: Pixels | None = None
        while self._waiting and (position is None or self._waiting[0][0] <= position):
            newest = self._waiting.popleft()[1]
        if newest is None:
            return False
        self._draw(newest, note)
        self.painted += 1
        return True

    def typed(self) -> None:
        """A line was typed; the next begins where it did."""
        self._write(f"\x1b[{max(1, self._typed)};1H\x1b[J> ")

    def _draw(self, pixels: Pixels, note: str) -> None:
        """The cursor stays where it is, so that what is being typed goes on."""
        room = shutil.get_terminal_size()
        columns, lines = self.columns or room.columns, (self.lines or room.lines) - _LINES_BELOW
        picture = half_blocks(fitted(pixels, columns=columns, lines=max(1, lines)))
        first = self._typed != len(picture) + _LINES_BELOW
        self._typed = len(picture) + _LINES_BELOW
        rows = "".join(f"\x1b[{number};1H{row}\x1b[K" for number, row in enumerate(picture, start=1))
        said = f"\x1b[{self._typed - 1};1H{note[:columns]}\x1b[K"
        self._write(f"\x1b7\x1b[?25l{rows}{said}\x1b[?25h\x1b8")
        if first:
            self.typed()

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()


def read_lines(source: TextIO, on_line: Callable[[str], None]) -> None:
    """Call `on_line` for each line that is typed, from a thread that ends with the program or with the text."""

    def read() -> None:
        for line in source:
            if line.strip():
                on_line(line.strip())

    threading.Thread(target=read, name="longtake-client-typing", daemon=True).start()
