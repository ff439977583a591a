"""Receiver: the order of messages, gaps and repeats, without a socket."""

from typing import Any

import pytest
from pydantic import JsonValue

from client.chunk import Chunk
from client.errors import ProtocolViolation
from client.receiver import Receiver
from service.protocol import encode_message
from service.protocol.server import (
    MissingChunks,
    SessionControlApplied,
    SessionDone,
    SessionPong,
    SessionResumed,
    VideoDiscard,
    VideoStart,
)
from tests.client.fake_server import FPS, FRAMES, HEIGHT, LIMITS, WIDTH, make_chunk


def video_start(**changes: Any) -> str:
    facts = {
        "session_id": "s1",
        "model": "demo",
        "width": WIDTH,
        "height": HEIGHT,
        "fps": FPS,
        "format": "jpeg",
        "seed": 7,
        "block_frames": 3,
        "frames_per_block": FRAMES,
        "first_block_frames": FRAMES,
        "limits": LIMITS,
    }
    return encode_message(VideoStart.model_validate(facts | changes))


def started() -> Receiver:
    receiver = Receiver()
    receiver.text(video_start())
    return receiver


def give(receiver: Receiver, sequence: int) -> Chunk | None:
    metadata, payload = make_chunk(sequence)
    receiver.text(encode_message(metadata))
    return receiver.binary(payload, 1.0)


def end(receiver: Receiver, chunks: int) -> None:
    journal: dict[str, JsonValue] = {}
    receiver.text(encode_message(SessionDone(reason="stopped", chunks=chunks, frames=12 * chunks, journal=journal)))


def test_chunks_in_order() -> None:
    receiver = started()
    assert [chunk.sequence for index in range(4) if (chunk := give(receiver, index))] == [0, 1, 2, 3]
    end(receiver, 4)
    assert (receiver.chunks, receiver.missing, receiver.duplicated) == (4, 0, 0)


def test_gaps_are_counted_wherever_they_are() -> None:
    receiver = started()
    for sequence in (1, 2, 5):
        assert give(receiver, sequence) is not None
    end(receiver, 8)
    assert (receiver.chunks, receiver.missing, receiver.duplicated) == (3, 5, 0)


def test_chunks_that_were_here_before_are_counted_and_not_handed_out() -> None:
    receiver = started()
    assert [give(receiver, sequence) is None for sequence in (0, 1, 1, 0, 2)] == [False, False, True, True, False]
    assert (receiver.chunks, receiver.missing, receiver.duplicated) == (3, 0, 2)


def test_binary_without_metadata() -> None:
    with pytest.raises(ProtocolViolation, match="got 3 bytes that nothing announced"):
        started().binary(b"abc", 1.0)


def test_text_where_the_bytes_of_a_chunk_are_due() -> None:
    receiver = started()
    receiver.text(encode_message(make_chunk(0)[0]))
    with pytest.raises(ProtocolViolation, match=r"expected the \d+ bytes of chunk 0, got a session.pong message"):
        receiver.text(encode_message(SessionPong(id="1")))


def test_chunk_before_video_start() -> None:
    with pytest.raises(ProtocolViolation, match=r"expected video\.start before the first chunk"):
        Receiver().text(encode_message(make_chunk(0)[0]))


def test_second_video_start() -> None:
    with pytest.raises(ProtocolViolation, match="got a second"):
        started().text(video_start())


@pytest.mark.parametrize("changes", [{"width": 0}, {"height": -1}, {"fps": 0.0}])
def test_video_of_no_size_or_rate(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolViolation, match="expected a size and a rate above 0"):
        Receiver().text(video_start(**changes))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "video.chunk_metadata"}', '{"kind": "x"}'])
def test_text_that_is_no_message(text: str) -> None:
    with pytest.raises(ProtocolViolation, match="expected a message of the protocol"):
        started().text(text)


def test_messages_of_a_newer_server_are_passed_over() -> None:
    receiver = started()
    assert receiver.text('{"type": "session.brand_new", "chunks": 4}').type == "session.brand_new"
    assert give(receiver, 0) is not None


def test_numbers_that_were_taken_back_or_passed_over_are_not_missing() -> None:
    receiver = started()
    assert give(receiver, 0) is not None
    receiver.text(encode_message(VideoDiscard(from_sequence=2, next_sequence=5, reason="prompt")))
    assert receiver.missing == 1, "chunk 1 was lost before"
    receiver.text(encode_message(VideoDiscard(from_sequence=2, next_sequence=5, reason="prompt")))
    assert give(receiver, 5) is not None
    receiver.text(encode_message(SessionControlApplied(action="seek_live", sequence=9)))
    assert give(receiver, 9) is not None
    assert (receiver.missing, receiver.last_sequence) == (1, 9)


@pytest.mark.parametrize(("first", "following"), [(-1, 2), (3, 2)])
def test_a_discard_of_no_sense(first: int, following: int) -> None:
    message = VideoDiscard(from_sequence=first, next_sequence=following, reason="pause")
    with pytest.raises(ProtocolViolation, match=r"expected video\.discard"):
        started().text(encode_message(message))


def test_another_connection_goes_on_with_the_numbers() -> None:
    receiver = started()
    assert give(receiver, 0) is not None
    receiver.text(encode_message(make_chunk(1)[0]))
    receiver.reconnected()
    receiver.text(video_start())
    missing = MissingChunks(from_sequence=1, to_sequence=2)
    resumed = SessionResumed(session_id="s1", cause="connection", next_sequence=3, missing=missing)
    receiver.text(encode_message(resumed))
    assert give(receiver, 0) is None
    assert give(receiver, 3) is not None
    assert (receiver.missing, receiver.duplicated) == (2, 1)


def test_a_session_begins_with_the_number_that_it_has_come_to() -> None:
    receiver = Receiver()
    receiver.text(video_start(next_sequence=7))
    assert give(receiver, 7) is not None
    again = Receiver()
    again.begin_after(4)
    again.text(video_start(next_sequence=5))
    assert give(again, 6) is not None
    assert (receiver.missing, again.missing) == (0, 1)
