"""The outbox: order, bounds of each kind, a last word, and room for the reader to wait for."""

import asyncio

import pytest

from service.api.outbox import Outbox, OutboxFull
from service.api.reply import Reply, thin
from service.errors import CloseCode
from service.protocol.server import ChunkMetadata, FramePart, SessionPong


def control(name: str) -> Reply:
    return Reply(SessionPong(id=name))


def chunk(name: str) -> Reply:
    return Reply(SessionPong(id=name), payload=b"x")


def last(name: str) -> Reply:
    return Reply(SessionPong(id=name), close=CloseCode.NORMAL)


async def taken(outbox: Outbox, count: int) -> list[str | None]:
    replies = [await outbox.get() for _ in range(count)]
    return [reply.message.id for reply in replies if isinstance(reply.message, SessionPong)]


async def test_order_is_kept_over_both_kinds() -> None:
    outbox = Outbox(control=4, chunks=2)
    for reply in (control("a"), chunk("b"), control("c"), chunk("d")):
        outbox.put(reply)
    assert await taken(outbox, 4) == ["a", "b", "c", "d"]


async def test_each_kind_has_its_bound() -> None:
    outbox = Outbox(control=2, chunks=1)
    for reply in (control("a"), control("b"), chunk("c")):
        outbox.put(reply)
    with pytest.raises(OutboxFull, match="1 chunks"):
        outbox.put(chunk("d"))
    with pytest.raises(OutboxFull, match="2 messages"):
        outbox.put(control("d"))
    await outbox.get()
    outbox.put(control("d"))
    assert await taken(outbox, 3) == ["b", "c", "d"]


async def test_the_last_word_always_fits_and_nothing_follows_it() -> None:
    outbox = Outbox(control=1, chunks=1)
    for reply in (control("a"), last("b"), control("c"), chunk("d"), last("e")):
        outbox.put(reply)
    assert await taken(outbox, 2) == ["a", "b"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(outbox.get(), 0.01)


async def test_a_last_word_may_take_the_place_of_everything() -> None:
    outbox = Outbox(control=2, chunks=1)
    for reply in (control("a"), chunk("b"), last("c")):
        outbox.put(reply)
    outbox.replace(last("d"))
    outbox.put(chunk("e"))
    assert await taken(outbox, 1) == ["d"]


async def test_get_waits_for_what_is_put_later() -> None:
    outbox = Outbox(control=2, chunks=1)
    getting = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    outbox.put(control("a"))
    assert (await getting) == control("a")


async def test_the_reader_waits_until_half_the_room_is_free() -> None:
    outbox = Outbox(control=4, chunks=1)
    for name in "abc":
        outbox.put(control(name))
    waiting = asyncio.create_task(outbox.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await outbox.get()
    await asyncio.wait_for(waiting, 1)


async def test_the_reader_does_not_wait_after_the_last_word() -> None:
    outbox = Outbox(control=2, chunks=1)
    for reply in (control("a"), control("b"), last("c")):
        outbox.put(reply)
    await asyncio.wait_for(outbox.wait_for_room(), 1)


def media(number: int, size: int = 100) -> Reply:
    metadata = ChunkMetadata(
        sequence=number,
        take=0,
        block=number,
        attempt=0,
        pts=float(number),
        fps=16.0,
        num_frames=1,
        format="raw",
        byte_length=size,
        frames=(FramePart(offset=0, length=size, pts=float(number)),),
        frames_sha256="0" * 64,
    )
    return Reply(metadata, payload=bytes(size))


def dropping(control: int = 8) -> Outbox:
    outbox = Outbox(control=control, chunks=3)
    outbox.thin = thin
    return outbox


async def test_a_newer_chunk_thins_the_one_that_waits_and_its_credit_comes_back() -> None:
    outbox = dropping()
    assert [outbox.put(media(number)) for number in range(5)] == [1] * 5
    assert outbox.payload_bytes == 100
    replies = [await outbox.get() for _ in range(5)]
    for number, reply in enumerate(replies):
        metadata = reply.message
        assert isinstance(metadata, ChunkMetadata)
        kept = number == 4
        assert (metadata.sequence, metadata.dropped_frames, metadata.num_frames) == (number, not kept, kept)
        assert (metadata.byte_length, len(reply.payload or b"")) == (100 * kept, 100 * kept)
        assert not reply.credit


async def test_what_stays_of_thinned_chunks_has_a_bound_and_credits_stay_away_beyond_it() -> None:
    outbox = dropping(control=4)
    given = 2  # credits that the worker has
    made = 0
    while given:
        given += outbox.put(media(made)) - 1
        made += 1
        assert outbox.payload_bytes <= 3 * 100
        assert made < 100
    returned = 0
    for _ in range(made):
        returned += (await outbox.get()).credit
    assert given + returned == 2
    assert outbox.empty


async def test_order_is_kept_when_chunks_are_thinned() -> None:
    outbox = dropping()
    for reply in (media(0), control("a"), media(1), control("b")):
        outbox.put(reply)
    order = [type((await outbox.get()).message).__name__ for _ in range(4)]
    assert order == ["ChunkMetadata", "SessionPong", "ChunkMetadata", "SessionPong"]


async def test_the_age_of_the_oldest_chunk_counts_until_it_is_sent() -> None:
    outbox = Outbox(control=4, chunks=2)
    outbox.put(control("a"), 1.0)
    assert outbox.oldest_chunk() is None
    outbox.put(media(0), 2.0)
    outbox.put(media(1), 3.0)
    await outbox.get()
    assert outbox.oldest_chunk() == 2.0
    await outbox.get()
    assert (outbox.oldest_chunk(), outbox.payload_bytes) == (2.0, 200)
    outbox.sent()
    assert (outbox.oldest_chunk(), outbox.payload_bytes) == (3.0, 100)
