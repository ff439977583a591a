"""The boxes of an MP4 file (ISO/IEC 14496-12): where they lie in a text of bytes.

Knows the nesting of boxes and their sizes; nothing of codecs or files. Invariant: a box that is given out lies wholly
inside what it was looked for in, so that damaged bytes are refused and never read past.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass


class BoxError(ValueError):
    """The bytes are no boxes, or one is missing."""


@dataclass(frozen=True, slots=True)
class Box:
    """`begin` is where its size stands, `body` where its content begins, `end` is behind its last byte."""

    kind: str
    begin: int
    body: int
    end: int


def boxes_in(data: bytes, *, begin: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes one after the other, not those inside them. Raises BoxError."""
    end = len(data) if end is None else end
    while begin < end:
        box = _box_at(data, begin, end=end)
        yield box
        begin = box.end


def find_box(data: bytes, *path: str, begin: int = 0, end: int | None = None) -> Box:
    """The first box of this name inside the first of the name before, and so on. Raises BoxError."""
    found: Box | None = None
    for kind in path:
        if found is not None:
            begin, end = found.body, found.end
        found = next((box for box in boxes_in(data, begin=begin, end=end) if box.kind == kind), None)
        if found is None:
            raise BoxError(f"expected a box {'/'.join(path)}, found none called {kind}")
    assert found is not None, "a path has at least one name"
    return found


def _box_at(data: bytes, begin: int, *, end: int) -> Box:
    head = 8
    if begin + head > end:
        raise BoxError(f"expected a box at byte {begin}, got {end - begin} bytes")
    size, name = struct.unpack_from(">I4s", data, begin)
    if size == 1 and begin + 16 <= end:
        head = 16
        (size,) = struct.unpack_from(">Q", data, begin + 8)
    if size < head or begin + size > end:
        raise BoxError(f"expected a box of {head} to {end - begin} bytes at byte {begin}, got {size}")
    return Box(name.decode("latin-1"), begin, begin + head, begin + size)
