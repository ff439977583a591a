"""Fragments: exact frames and time stamps in any order, one head for all, and damaged ones refused."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from service.media import FragmentError, decode_fragment, encode_fragment, fragment_facts, init_segment, shifted
from service.media.fragments import ticks_per_second
from tests.service.media.blocks import BLOCKS, FPS, HEIGHT, WIDTH, fragments, init, number_of, numbered, pixels_of


def read(data: bytes) -> list[tuple[Fraction, int]]:
    """Time stamp and number of every frame; a warning of the reader is a failure."""
    with av.logging.Capture() as said, av.open(io.BytesIO(data), "r", format="mp4") as container:
        assert [stream.type for stream in container.streams] == ["video"]
        frames = [
            (Fraction(frame.pts or 0) * (frame.time_base or 0), number_of(pixels_of(frame)))
            for frame in container.decode(video=0)
        ]
    assert [line for line in said if line[0] <= av.logging.WARNING] == []
    return frames


def test_blocks_behind_each_other_are_one_video_with_every_frame_at_its_time() -> None:
    assert read(init() + b"".join(fragments())) == [(Fraction(n, FPS), n) for n in range(sum(BLOCKS))]


def test_any_block_alone_is_shown_at_its_place_behind_the_init_segment_alone() -> None:
    first = 0
    for count, fragment in zip(BLOCKS, fragments(), strict=True):
        assert read(init() + fragment) == [(Fraction(n, FPS), n) for n in range(first, first + count)]
        first += count


def test_what_was_shown_may_be_shown_again_as_after_a_rewind() -> None:
    made = fragments()
    again = encode_fragment(numbered(9, 12), first=9, fps=FPS, quality=85, number=len(made))[1]
    assert fragment_facts(again).ticks == fragment_facts(made[1]).ticks
    assert [number_of(frame) for frame in decode_fragment(init(), again)] == list(range(9, 21))


def test_every_block_is_whole_before_the_next_is_made() -> None:
    """A muxer that goes on from block to block would hold one frame back."""
    for count, fragment in zip(BLOCKS, fragments(), strict=True):
        assert fragment_facts(fragment).frames == count


def test_numbers_rise_and_times_go_on() -> None:
    facts = [fragment_facts(fragment) for fragment in fragments()]
    unit = ticks_per_second(init())
    assert [fact.number for fact in facts] == [1, 2, 3, 4, 5]
    assert [Fraction(fact.ticks, unit) for fact in facts] == [Fraction(n, FPS) for n in (0, 9, 21, 33, 34)]


def test_parts_tile_the_fragment_and_the_first_has_the_head() -> None:
    lengths, fragment = encode_fragment(numbered(0, 12), first=0, fps=FPS, quality=85, number=0)
    facts = fragment_facts(fragment)
    assert (len(lengths), sum(lengths)) == (12, len(fragment))
    assert lengths[1:] == list(facts.sizes[1:])
    assert lengths[0] - facts.sizes[0] == fragment.index(b"mdat") + 4


@pytest.mark.parametrize("quality", [1, 50, 85, 100])
def test_the_init_segment_is_the_same_for_every_quality(quality: int) -> None:
    fragment = fragments([12], quality=quality)[0]
    assert [number_of(frame) for frame in decode_fragment(init(), fragment)] == list(range(12))


def test_more_quality_is_more_bytes_and_nearer_to_the_pixels() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (4, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    frames = noise.repeat(8, axis=1).repeat(8, axis=2)
    made = [encode_fragment(frames, first=0, fps=FPS, quality=quality, number=0)[1] for quality in (20, 60, 95)]
    errors = [np.abs(decode_fragment(init(), one).astype(int) - frames).mean() for one in made]
    assert sorted(map(len, made)) == list(map(len, made))
    assert errors[0] > errors[1] > errors[2]


def test_the_codec_is_named_as_browsers_name_it() -> None:
    segment = init_segment(width=832, height=480, fps=16)
    assert segment.codec == "avc1.64001e"
    assert segment.mime == 'video/mp4; codecs="avc1.64001e"'


def test_a_fragment_can_be_moved_without_touching_its_frames() -> None:
    fragment = fragments()[1]
    moved = shifted(fragment, ticks=77 * 1024, number=9)
    assert (fragment_facts(moved).number, fragment_facts(moved).ticks) == (10, 77 * 1024)
    assert read(init() + moved) == [(Fraction(77 + k, FPS), 9 + k) for k in range(12)]


@pytest.mark.parametrize("kind", ["empty", "cut", "head", "twice"])
def test_what_is_no_fragment_is_refused(kind: str) -> None:
    good = fragments([12])[0]
    wrong = {"empty": b"", "cut": good[:-1], "head": good[:90], "twice": good + good}[kind]
    with pytest.raises(FragmentError, match="expected"):
        fragment_facts(wrong)


def test_bytes_that_cannot_be_decoded_are_refused() -> None:
    with pytest.raises(FragmentError, match="expected a fragment"):
        decode_fragment(init(), b"")
    with pytest.raises(FragmentError, match="expected a fragment"):
        decode_fragment(b"", fragments([12])[0])
    with pytest.raises(FragmentError, match="init segment"):
        ticks_per_second(b"no boxes")


def test_pictures_that_cannot_be_encoded_are_refused() -> None:
    with pytest.raises(FragmentError, match="even width"):
        encode_fragment(numbered(0, 2)[:, :, :95], first=0, fps=FPS, quality=85, number=0)
    with pytest.raises(FragmentError, match="expected uint8 frames"):
        encode_fragment(numbered(0, 0), first=0, fps=FPS, quality=85, number=0)
    with pytest.raises(FragmentError, match="from 0"):
        encode_fragment(numbered(0, 1), first=-1, fps=FPS, quality=85, number=0)
    with pytest.raises(FragmentError, match="even width"):
        init_segment(width=0, height=64, fps=16)
