"""What was said and who reads it: order, bounds, what is taken out, what is owed whole and what is thinned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.replay import Feed, FellBehind, Replay
from service.api.reply import Reply
from service.errors import CloseCode
from service.protocol.client import SlowConsumer
from service.protocol.server import ChunkMetadata, SessionPong, VideoDiscard
from tests.service.api.test_machine import CHUNK

LAST = Reply(SessionPong(id="last"), close=CloseCode.NORMAL)


def replay(*, seconds: float = 60.0, max_bytes: int = 10**6, keep: int = 2, first: int = 0) -> Replay:
    return Replay(seconds=seconds, max_bytes=max_bytes, keep_chunks=keep, first=first)


def chunk(sequence: int, size: int = 10) -> Reply:
    return Reply(CHUNK.model_copy(update={"sequence": sequence, "byte_length": size}), payload=bytes(size))


def filled(count: int, **options: int) -> Replay:
    made = replay(**options)
    for sequence in range(count):
        made.say(chunk(sequence), float(sequence))
    return made


def heard(feed: Feed) -> list[tuple[int, int]]:
    """Numbers and bytes of the chunks that a feed gives."""
    found = []
    while (entry := feed.take()) is not None:
        if entry.chunk is not None:
            found.append((entry.chunk.sequence, len(entry.reply.payload or b"")))
    return found


def test_each_reads_everything_in_order_at_its_own_pace() -> None:
    said = filled(3)
    one, other = Feed(said, 0, policy="pause"), Feed(said, 0, policy="pause")
    assert heard(one) == [(0, 10), (1, 10), (2, 10)]
    said.say(chunk(3), 3.0)
    assert (heard(one), heard(other)) == ([(3, 10)], [(0, 10), (1, 10), (2, 10), (3, 10)])
    assert (one.empty, said.media_seconds, said.bytes) == (True, 4 * 0.75, 40)


def test_nothing_is_said_after_the_last_word() -> None:
    said = replay()
    said.say(LAST, 0.0)
    said.say(chunk(0), 0.0)
    assert (said.ended, said.head) == (True, 1)


def test_what_is_too_old_goes_but_for_the_newest_chunks() -> None:
    said = filled(10)
    said.say(Reply(SessionPong()), 1000.0)
    assert (said.bytes, said.floor) == (20, 8)
    with pytest.raises(FellBehind):
        Feed(said, 0, policy="pause").take()


def test_of_what_is_too_much_the_oldest_chunks_lose_their_frames() -> None:
    said = filled(10, max_bytes=35)
    assert (said.bytes, said.floor, said.head) == (30, 0, 10)
    assert heard(Feed(said, 0, policy="pause")) == [(n, 0 if n < 7 else 10) for n in range(10)]
    assert [said.reaches(last) for last in (5, 6, 7)] == [False, True, True]
    assert [said.after(last) for last in (3, 6, 8)] == [7, 7, 9]


def test_the_newest_chunks_are_kept_whole_whatever_they_weigh() -> None:
    assert filled(5, max_bytes=0, keep=2).bytes == 20


def test_with_drop_what_is_not_the_newest_is_thinned_but_what_was_missed_is_owed() -> None:
    said = filled(3)
    feed = Feed(said, 1, policy="drop")
    for sequence in (3, 4, 5):
        said.say(chunk(sequence), 3.0)
    assert [len(entry.reply.payload or b"") for entry in feed.waiting()] == [10, 10, 10]
    assert heard(feed) == [(1, 10), (2, 10), (3, 0), (4, 0), (5, 10)]


@pytest.mark.parametrize("policy", ["pause", "drop", "disconnect"])
def test_to_seek_to_what_is_live_passes_over_the_frames_before_it(policy: SlowConsumer) -> None:
    said = filled(4)
    feed = Feed(said, 0, policy=policy)
    assert feed.seek_live() == 3
    assert heard(feed) == [(0, 0), (1, 0), (2, 0), (3, 10)]
    assert feed.seek_live() is None


def test_what_is_taken_back_is_not_given_to_those_who_have_not_read_it() -> None:
    said = filled(5)
    said.discard(3)
    said.say(Reply(VideoDiscard(from_sequence=3, next_sequence=5, reason="prompt")), 5.0)
    said.say(chunk(5), 5.0)
    assert heard(Feed(said, 0, policy="pause")) == [(0, 10), (1, 10), (2, 10), (5, 10)]
    assert (said.bytes, said.after(4), said.reaches(2)) == (40, 3, True)


def test_where_what_told_of_a_gap_is_gone_the_gap_is_missing() -> None:
    said = filled(2, keep=1)
    said.discard(1)
    said.say(Reply(VideoDiscard(from_sequence=1, next_sequence=2, reason="prompt")), 2.0)
    said.say(chunk(2), 2.0)
    assert said.reaches(0)
    said.say(chunk(3), 1000.0)
    assert [said.reaches(last) for last in (0, 1, 2)] == [False, False, True]


def test_a_session_that_goes_on_has_nothing_from_before() -> None:
    said = replay(first=7)
    assert [said.reaches(last) for last in (5, 6)] == [False, True]
    assert (said.first_chunk_from(0), said.after(6)) == (None, 0)


@given(
    st.lists(st.tuples(st.sampled_from(["chunk", "word", "back"]), st.integers(0, 40), st.integers(0, 3)), max_size=60)
)
def test_whatever_is_said_bounds_hold_and_numbers_rise(steps: list[tuple[str, int, int]]) -> None:
    said, now, sequence = replay(seconds=5.0, max_bytes=60, keep=2), 0.0, 0
    feed = Feed(said, 0, policy="pause")
    read: list[ChunkMetadata] = []
    for kind, size, wait in steps:
        now += wait
        if kind == "chunk":
            said.say(chunk(sequence, size), now)
            sequence += 1
        elif kind == "word":
            said.say(Reply(SessionPong()), now)
        else:
            said.discard(max(sequence - 2, 0))
        try:
            while (entry := feed.take()) is not None:
                if entry.chunk is not None:
                    read.append(entry.chunk)
        except FellBehind:
            return
        assert said.bytes >= 0
        assert said.bytes <= 60 + 2 * 40
    numbers = [one.sequence for one in read]
    assert numbers == sorted(set(numbers))
