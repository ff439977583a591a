"""Format `m4s` end to end: the real service, the real worker, the Python client; the same video as in pictures.

Frames are known by their marks (service/media/marks.py), which every format has to bring; counts and pixels only.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import av
import numpy as np
import pytest

from client.chunk import Chunk
from client.client import connect
from client.requests import Media
from service.media import Mark, decode_fragment, fragment_facts, read_mark
from service.protocol.client import MediaFormat
from tests.serving import running_service

FPS = 16
FORMATS: tuple[MediaFormat, ...] = ("jpeg", "m4s")

Taken = Mapping[str, list[Chunk]]


@pytest.fixture(scope="module", name="address")
def _address() -> Iterator[str]:
    with running_service("--set", "mark_frames=true", "--set", "heartbeat_timeout=60") as address:
        yield address


async def take(address: str, format: MediaFormat) -> list[Chunk]:
    async with connect(f"ws://{address}") as session:
        media = Media(format=format, quality=95)
        await session.start(
            "a red ball bounces over a grassy meadow by day", seed=5, media=media, pacing="none", max_seconds=3.5
        )
        return [chunk async for chunk in session]


@pytest.fixture(scope="module", name="taken")
def _taken(address: str) -> Taken:
    return {format: asyncio.run(take(address, format)) for format in FORMATS}


def test_both_formats_are_the_same_video(taken: Taken) -> None:
    pictures, film = taken["jpeg"], taken["m4s"]
    assert [chunk.num_frames for chunk in film] == [chunk.num_frames for chunk in pictures]
    assert [chunk.pts for chunk in film] == [chunk.pts for chunk in pictures]
    assert [chunk.frames_sha256 for chunk in film] == [chunk.frames_sha256 for chunk in pictures]
    assert sum(chunk.num_frames for chunk in film) >= 3.5 * FPS


def test_a_fragment_decoded_alone_is_near_the_pictures(taken: Taken) -> None:
    """Whatever the order: nothing is needed but the head that came once."""
    init = taken["m4s"][0].init
    for pictures, fragment in reversed(list(zip(taken["jpeg"], taken["m4s"], strict=True))):
        alone = decode_fragment(init, fragment.payload)
        assert np.array_equal(alone, fragment.numpy())
        assert np.abs(alone.astype(int) - pictures.numpy().astype(int)).mean() < 6, "of 255"


@pytest.mark.parametrize("format", FORMATS)
def test_each_frame_has_its_mark(taken: Taken, format: str) -> None:
    for chunk in taken[format]:
        expected = [Mark(chunk.sequence, place) for place in range(chunk.num_frames)]
        assert [read_mark(frame) for frame in chunk.numpy()] == expected


def test_fragments_behind_their_head_are_a_film(taken: Taken, tmp_path: Path) -> None:
    chunks = taken["m4s"]
    assert [fragment_facts(chunk.payload).number for chunk in chunks] == [chunk.sequence + 1 for chunk in chunks]
    film = tmp_path / "take.mp4"
    film.write_bytes(chunks[0].init + b"".join(chunk.payload for chunk in chunks))
    with av.open(film, "r") as container:
        decoded = list(container.decode(video=0))
        frames = [(frame.time, read_mark(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))) for frame in decoded]
    marks = [Mark(chunk.sequence, place) for chunk in chunks for place in range(chunk.num_frames)]
    assert [mark for _, mark in frames] == marks
    assert [time for time, _ in frames] == [pytest.approx(number / FPS) for number in range(len(marks))]
