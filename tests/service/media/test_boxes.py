"""Boxes: found by their path, and never read past their end."""

import pytest

from service.media import BoxError, boxes_in, find_box


def box(kind: str, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind.encode() + content


def test_boxes_are_found_by_their_path() -> None:
    data = box("ftyp") + box("moov", box("trak", box("tkhd", b"one")) + box("trak", box("tkhd", b"two")))
    found = find_box(data, "moov", "trak", "tkhd")
    assert data[found.body : found.end] == b"one"
    assert [part.kind for part in boxes_in(data)] == ["ftyp", "moov"]


def test_a_size_of_64_bits_is_read() -> None:
    data = (1).to_bytes(4, "big") + b"mdat" + (19).to_bytes(8, "big") + b"abc"
    (found,) = boxes_in(data)
    assert data[found.body : found.end] == b"abc"


@pytest.mark.parametrize("data", [b"abc", box("free")[:-1], (7).to_bytes(4, "big") + b"free", box("free", b"x")[:-1]])
def test_damaged_sizes_are_refused(data: bytes) -> None:
    with pytest.raises(BoxError, match="expected a box"):
        list(boxes_in(data))


def test_a_box_that_is_not_there_is_named() -> None:
    with pytest.raises(BoxError, match="moov/trak, found none called trak"):
        find_box(box("moov"), "moov", "trak")
