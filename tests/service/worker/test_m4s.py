"""Format `m4s` through the worker's loop: one fragment a block, times that follow the video, one head for all."""

import io
from fractions import Fraction

import av
import msgspec
import pytest

from service.ipc import Chunk, Control, Credit, Rewind, Start, Started
from service.media import decode_fragment, fragment_facts, init_segment
from service.media.fragments import ticks_per_second
from tests.service.worker.fake_engine import FIRST_FRAMES, FPS, FRAMES_PER_BLOCK, SIZE
from tests.service.worker.stage import Stage, start


def fragments(credits: int = 3) -> Start:
    return msgspec.structs.replace(start(credits=credits), format="m4s")


def head(stage: Stage) -> bytes:
    (started,) = stage.of(Started)
    assert isinstance(started, Started)
    assert started.codec.startswith("avc1.")
    return started.init


def at(chunk: Chunk, unit: int) -> Fraction:
    return Fraction(fragment_facts(chunk.payload).ticks, unit)


def test_blocks_are_fragments_of_one_video_from_the_first_on() -> None:
    stage = Stage()
    stage.play([fragments(4)])
    init, chunks = head(stage), stage.chunks()
    assert init == init_segment(width=SIZE, height=SIZE, fps=FPS).data
    assert [len(chunk.frames) for chunk in chunks] == [FIRST_FRAMES, *[FRAMES_PER_BLOCK] * 3]
    joined = io.BytesIO(init + b"".join(chunk.payload for chunk in chunks))
    with av.open(joined, "r", format="mp4") as container:
        times = [Fraction(frame.pts or 0) * (frame.time_base or 0) for frame in container.decode(video=0)]
    assert times == [Fraction(n, FPS) for n in range(FIRST_FRAMES + 3 * FRAMES_PER_BLOCK)]
    assert [span.pts for chunk in chunks for span in chunk.frames] == [float(time) for time in times]


def test_every_chunk_is_tiled_by_its_parts_and_can_be_decoded_alone() -> None:
    stage = Stage()
    stage.play([fragments(3)])
    init = head(stage)
    for chunk in stage.chunks():
        end = chunk.frames[-1]
        assert end.offset + end.length == len(chunk.payload)
        assert decode_fragment(init, chunk.payload).shape == (len(chunk.frames), SIZE, SIZE, 3)


def test_numbers_rise_and_times_go_back_with_a_rewind() -> None:
    stage = Stage()
    again = Rewind(session="s", block=1, take=1, event_id="r")
    stage.play([fragments(3)], [again, Credit(session="s", chunks=2)])
    unit, chunks = ticks_per_second(head(stage)), stage.chunks()
    assert [fragment_facts(chunk.payload).number for chunk in chunks] == [1, 2, 3, 4, 5]
    seconds = [Fraction(n, FPS) for n in (0, 2, 6, 2, 6)]
    assert [at(chunk, unit) for chunk in chunks] == seconds == [Fraction(chunk.pts) for chunk in chunks]


@pytest.mark.parametrize("quality", [10, 100])
def test_a_change_of_quality_needs_no_other_head(quality: int) -> None:
    stage = Stage()
    change = Control(session="s", action="quality", quality=quality)
    stage.play([fragments(1)], [change, Credit(session="s", chunks=1)])
    init = head(stage)
    assert [len(decode_fragment(init, chunk.payload)) for chunk in stage.chunks()] == [FIRST_FRAMES, FRAMES_PER_BLOCK]


def test_other_formats_have_no_head() -> None:
    stage = Stage()
    stage.play([start(credits=1)])
    assert [(event.codec, event.init) for event in stage.of(Started) if isinstance(event, Started)] == [("", b"")]
