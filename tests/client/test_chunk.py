"""Chunk: its layout is checked before anybody reads it, its pixels only when asked for."""

from typing import Any

import numpy as np
import pytest

from client.chunk import Chunk
from client.errors import ProtocolViolation
from service.protocol.client import MediaFormat
from service.protocol.server import FramePart
from tests.client.fake_server import FRAMES, HEIGHT, WIDTH, make_chunk, pictures


def chunk_of(kind: MediaFormat, **changes: Any) -> Chunk:
    metadata, payload = make_chunk(0, kind)
    return Chunk(metadata.model_copy(update=changes), payload, WIDTH, HEIGHT, received=1.0)


@pytest.mark.parametrize("kind", ["png", "raw"])
def test_lossless_formats_give_the_very_pixels(kind: MediaFormat) -> None:
    chunk = chunk_of(kind)
    assert np.array_equal(chunk.numpy(), pictures(0))
    assert chunk.numpy() is chunk.numpy()
    chunk.verify()


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_lossy_formats_give_pixels_of_the_same_shape(kind: MediaFormat) -> None:
    chunk = chunk_of(kind, frames_sha256="of other pixels")
    assert chunk.numpy().shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert chunk.numpy().dtype == np.uint8
    chunk.verify()


def test_pixels_are_shared_and_so_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        chunk_of("raw").numpy()[0, 0, 0, 0] = 1


def test_frames_are_the_encoded_bytes_in_order() -> None:
    chunk = chunk_of("jpeg")
    assert len(chunk.frames) == FRAMES
    assert b"".join(chunk.frames) == chunk.payload
    assert all(frame.startswith(b"\xff\xd8") for frame in chunk.frames)


@pytest.mark.parametrize("kind", ["png", "raw"])
def test_other_pixels_than_those_hashed_are_noticed(kind: MediaFormat) -> None:
    with pytest.raises(ProtocolViolation, match="chunk 0: expected frames with SHA-256 00ff, got"):
        chunk_of(kind, frames_sha256="00ff").verify()


def part(offset: int, length: int) -> FramePart:
    return FramePart(offset=offset, length=length, pts=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"byte_length": 7}, r"chunk 0: expected 7 bytes, got \d+"),
        ({"num_frames": 11}, "expected 11 frames"),
        ({"num_frames": 0, "frames": ()}, "expected frames, or dropped ones, got 0 and 0"),
        ({"num_frames": 1, "frames": (part(1, 5),)}, "frame 0: expected offset 0"),
        ({"num_frames": 2, "frames": (part(0, 5), part(4, 5))}, "frame 1: expected offset 5"),
        ({"num_frames": 2, "frames": (part(0, 5), part(6, 5))}, "frame 1: expected offset 5"),
        ({"num_frames": 1, "frames": (part(0, 0),)}, "some bytes, got 0 and 0"),
        ({"num_frames": 1, "frames": (part(0, 5),)}, "bytes in all, got 5"),
    ],
)
def test_layouts_that_do_not_tile_the_payload_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolViolation, match=message):
        chunk_of("jpeg", **changes)


def test_frames_that_cannot_be_decoded_or_have_another_size_are_refused() -> None:
    metadata, payload = make_chunk(0, "jpeg")
    with pytest.raises(ProtocolViolation, match="a jpeg frame cannot be decoded"):
        Chunk(metadata, bytes(len(payload)), WIDTH, HEIGHT, 1.0).numpy()
    with pytest.raises(ProtocolViolation, match=r"expected frames of 64x16, got \(32, 16\)"):
        Chunk(metadata, payload, 64, HEIGHT, 1.0).numpy()
    raw_metadata, raw_payload = make_chunk(0, "raw")
    with pytest.raises(ProtocolViolation, match="expected a raw frame of 3072 bytes, got 1536"):
        Chunk(raw_metadata, raw_payload, 64, HEIGHT, 1.0).numpy()


def test_frame_of_another_format_than_announced_is_refused() -> None:
    metadata, payload = make_chunk(0, "jpeg")
    with pytest.raises(ProtocolViolation, match="a png frame cannot be decoded"):
        Chunk(metadata.model_copy(update={"format": "png"}), payload, WIDTH, HEIGHT, 1.0).numpy()
