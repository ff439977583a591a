"""A contact sheet of a video: stills in rows, each with its second, and the prompt where a chapter begins.

Knows PyAV and Pillow; nothing of sessions. Invariants: the first and the last still are the first and the last frame,
the others are evenly between them; what is decoded is not kept.
"""

from dataclasses import dataclass
from pathlib import Path

import av
from PIL import Image, ImageDraw

_LABEL = 14
_GAP = 4


class SheetError(ValueError):
    """The file is no video."""


@dataclass(frozen=True, slots=True)
class SheetFacts:
    """Of the video, and of what was drawn."""

    frames: int
    seconds: float
    chapters: int
    stills: int


def make_sheet(video: Path, out: Path, *, columns: int = 5, stills: int = 20, width: int = 192) -> SheetFacts:
    """Write the sheet, in the format that the name of `out` says.

    Raises:
        SheetError: there is no video in the file. OSError: one of the files cannot be read or written.
    """
    try:
        with av.open(str(video), "r") as container:
            chapters = [
                (chapter["start"] * float(chapter["time_base"] or 0), chapter["metadata"].get("title", ""))
                for chapter in container.chapters()
            ]
        pictures, frames, seconds = _stills(video, stills, width)
    except (av.FFmpegError, IndexError) as error:
        if isinstance(error, OSError) and not isinstance(error, av.InvalidDataError):
            raise
        raise SheetError(f"expected a video in {video}: {error}") from error
    _sheet(pictures, chapters, columns=min(columns, len(pictures))).save(out)
    return SheetFacts(frames, seconds, len(chapters), len(pictures))


def _stills(video: Path, most: int, width: int) -> tuple[list[tuple[float, Image.Image]], int, float]:
    """Seconds and pictures; the frames are counted first, as not every file says how many there are."""
    with av.open(str(video), "r") as container:
        packets = sum(1 for packet in container.demux(video=0) if packet.size)
    if packets == 0:
        raise SheetError(f"expected a video in {video}, found no frame")
    count = min(most, packets)
    wanted = {round(number * (packets - 1) / max(1, count - 1)) for number in range(count)}
    found, end = list[tuple[float, Image.Image]](), 0.0
    with av.open(str(video), "r") as container:
        for number, frame in enumerate(container.decode(video=0)):
            end = frame.time or 0.0
            if number in wanted:
                height = max(1, round(frame.height * width / frame.width))
                picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
                found.append((end, picture.resize((width, height), Image.Resampling.LANCZOS)))
        rate = container.streams.video[0].average_rate
    return found, packets, end + (1 / float(rate) if rate else 0.0)


def _sheet(
    pictures: list[tuple[float, Image.Image]], chapters: list[tuple[float, str]], *, columns: int
) -> Image.Image:
    width, height = pictures[0][1].size
    rows = -(-len(pictures) // columns)
    step, row = width + _GAP, height + _LABEL + _GAP
    sheet = Image.new("RGB", (columns * step + _GAP, rows * row + _GAP), "black")
    pencil = ImageDraw.Draw(sheet)
    said = ""
    for number, (second, picture) in enumerate(pictures):
        left, top = _GAP + number % columns * step, _GAP + number // columns * row
        sheet.paste(picture, (left, top))
        title = next((title for begin, title in reversed(chapters) if begin <= second + 1e-6), "")
        label = f"{second:.2f} s" if title == said else f"{second:.2f} s  {title}"
        said = title
        pencil.text((left, top + height + 1), _cut(pencil, label, width), fill="white")
    return sheet


def _cut(pencil: ImageDraw.ImageDraw, label: str, width: int) -> str:
    """As much of it as is no wider than that. The font of Pillow has Latin letters only."""
    label = label.encode("latin-1", "replace").decode("latin-1")
    while label and pencil.textlength(label) > width:
        label = label[:-1]
    return label
