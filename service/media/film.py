"""Fragments into one ordinary MP4 file, without encoding again, and what an MP4 says of itself: chapters, a comment.

Knows files, boxes and PyAV; nothing of sessions or prompts. Invariants: a film has exactly the frames that were asked
for, each at its number divided by the rate; its index stands before its frames; it comes under its name only when it is
whole and on disk; memory does not grow with the frames' bytes.

Chapters are written as the list `chpl`, which players of files read, and not as a track of text: readers that look for
video warn of such a track.
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from service.media.boxes import Box, BoxError, boxes_in

MOST_CHAPTERS = 255
_TITLE_BYTES = 255
_CHAPTER_UNITS = 10_000_000  # a second, in the list's unit
_FARTHEST = 2**32 - 1  # that 32 bits can point to
_FOLDERS = frozenset({"moov", "trak", "mdia", "minf", "stbl"})


class FilmError(ValueError):
    """The fragments are not the film that was asked for, or the file is no film."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """`seconds` is where it begins, in the film's own time."""

    seconds: float
    title: str


@dataclass(frozen=True, slots=True)
class FilmNotes:
    """What is written into a film beside its frames. Of more than 255 chapters the first 255 stay."""

    comment: str = ""
    chapters: tuple[Chapter, ...] = ()


def remux(source: Path, out: Path, *, frames: int, fps: int, notes: FilmNotes | None = None) -> None:
    """The first `frames` of a file of fragments (init segment, then fragments) as an MP4 file.

    Raises:
        FilmError: there are fewer frames, or one of them is not at its number divided by `fps`.
        OSError: a file cannot be read or written.
    """
    notes = notes or FilmNotes()
    plain = out.with_name(f".{out.name}.frames")
    try:
        with av.open(str(source), "r", format="mp4") as given, av.open(str(plain), "w", format="mp4") as taken:
            _copy(given, taken, frames=frames, fps=fps, comment=notes.comment)
        finish_film(plain, out, chapters=notes.chapters)
    except (av.FFmpegError, IndexError) as error:
        if isinstance(error, OSError):
            raise
        raise FilmError(f"expected fragments in {source.name}: {error}") from error
    finally:
        plain.unlink(missing_ok=True)


def finish_film(source: Path, out: Path, *, chapters: Sequence[Chapter] = ()) -> None:
    """An MP4 file that is whole once more, with its index first and with chapters; `source` is as it was.

    Raises:
        FilmError: it is not an MP4 file with an index.
        OSError: a file cannot be read or written.
    """
    unfinished = out.with_name(f".{out.name}.part")
    try:
        with source.open("rb") as read, unfinished.open("wb") as write:
            _finish(read, write, chapters)
            write.flush()
            os.fsync(write.fileno())
        unfinished.replace(out)
    except (BoxError, struct.error) as error:
        raise FilmError(f"expected an MP4 file with an index in {source.name}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    folder = os.open(out.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# Frames


def _copy(given: InputContainer, taken: OutputContainer, *, frames: int, fps: int, comment: str) -> None:
    stream = taken.add_stream_from_template(given.streams.video[0])
    stream.time_base = Fraction(1, fps)
    if comment:
        taken.metadata["comment"] = comment
    copied = 0
    for packet in _first(given, frames):
        at = (packet.pts or 0) * packet.time_base
        if at != Fraction(copied, fps):
            raise FilmError(f"expected frame {copied} at {copied / fps} s, got it at {float(at)} s")
        packet.stream = stream
        packet.pts = packet.dts = copied
        packet.time_base, packet.duration = Fraction(1, fps), 1
        taken.mux(packet)
        copied += 1
    if copied != frames:
        raise FilmError(f"expected {frames} frames, got {copied}")


def _first(given: InputContainer, frames: int) -> Iterator["Packet[VideoStream]"]:
    left = frames
    for packet in given.demux(given.streams.video[0]):
        if left == 0 or packet.dts is None:
            return
        yield packet
        left -= 1


# Boxes


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    begin: int
    size: int


def _finish(read: BinaryIO, write: BinaryIO, chapters: Sequence[Chapter]) -> None:
    parts = list(_parts(read))
    indexes = [part for part in parts if part.kind == "moov"]
    if len(indexes) != 1 or parts[0].kind != "ftyp":
        raise BoxError(f"expected the boxes ftyp and moov, got {[part.kind for part in parts]}")
    old, whole = indexes[0], sum(part.size for part in parts)
    read.seek(old.begin)
    index = read.read(old.size)
    wide = whole + 2 * old.size + _TITLE_BYTES * 2 * MOST_CHAPTERS > _FARTHEST

    def moved(shift: int) -> bytes:
        return _index(index, chapters, move=lambda place: place + shift - old.size * (place > old.begin), wide=wide)

    size = len(moved(0))
    for part in (parts[0], old, *(part for part in parts[1:] if part is not old)):
        if part is old:
            write.write(moved(size))
        else:
            read.seek(part.begin)
            _copy_bytes(read, write, part.size)


def _parts(file: BinaryIO) -> Iterator[_Part]:
    """The outermost boxes, without reading what is in them."""
    end, begin = file.seek(0, os.SEEK_END), 0
    while begin < end:
        file.seek(begin)
        size, name = struct.unpack(">I4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        if size == 0:
            size = end - begin
        if size < 8 or begin + size > end:
            raise BoxError(f"expected a box of 8 to {end - begin} bytes at byte {begin}, got {size}")
        yield _Part(name.decode("latin-1"), begin, size)
        begin += size


def _copy_bytes(read: BinaryIO, write: BinaryIO, size: int) -> None:
    while size:
        part = read.read(min(size, 1 << 20))
        if not part:
            raise BoxError(f"expected {size} bytes more")
        write.write(part)
        size -= len(part)


def _index(index: bytes, chapters: Sequence[Chapter], *, move: Callable[[int], int], wide: bool) -> bytes:
    """The box `moov` with its pointers moved and its chapters changed; `wide` pointers have 64 bits."""
    (moov,) = boxes_in(index)
    content = b"".join(_rewritten(index, box, move=move, wide=wide) for box in _but_notes(index, moov))
    kept = b"".join(_bytes_of(index, box) for box in _notes(index, moov))
    if chapters:
        kept += _box("chpl", _chapter_list(chapters))
    return _box("moov", content + (_box("udta", kept) if kept else b""))


def _but_notes(index: bytes, moov: Box) -> Iterator[Box]:
    return (box for box in boxes_in(index, moov.body, moov.end) if box.kind != "udta")


def _notes(index: bytes, moov: Box) -> Iterator[Box]:
    """What the file says of itself, but for its chapters."""
    for notes in boxes_in(index, moov.body, moov.end):
        if notes.kind == "udta":
            yield from (box for box in boxes_in(index, notes.body, notes.end) if box.kind != "chpl")


def _rewritten(index: bytes, box: Box, *, move: Callable[[int], int], wide: bool) -> bytes:
    if box.kind in _FOLDERS:
        inside = boxes_in(index, box.body, box.end)
        return _box(box.kind, b"".join(_rewritten(index, part, move=move, wide=wide) for part in inside))
    if box.kind in ("stco", "co64"):
        (count,) = struct.unpack_from(">I", index, box.body + 4)
        letter = "I" if box.kind == "stco" else "Q"
        places = struct.unpack_from(f">{count}{letter}", index, box.body + 8)
        moved = struct.pack(f">{count}{'Q' if wide else 'I'}", *map(move, places))
        return _box("co64" if wide else "stco", struct.pack(">II", 0, count) + moved)
    return _bytes_of(index, box)


def _chapter_list(chapters: Sequence[Chapter]) -> bytes:
    kept = chapters[:MOST_CHAPTERS]
    head = struct.pack(">BxxxIB", 1, 0, len(kept))
    return head + b"".join(_chapter(chapter) for chapter in kept)


def _chapter(chapter: Chapter) -> bytes:
    title = chapter.title.encode()[:_TITLE_BYTES].decode("utf-8", "ignore").encode()
    return struct.pack(">QB", round(chapter.seconds * _CHAPTER_UNITS), len(title)) + title


def _bytes_of(index: bytes, box: Box) -> bytes:
    return index[box.begin : box.end]


def _box(kind: str, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind.encode("latin-1")) + content
