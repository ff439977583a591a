"""The outbox: order, bounds of each kind, a last word, and room for the reader to wait for."""

import asyncio

import pytest

from service.api.outbox import Outbox, OutboxFull
from service.api.reply import Reply
from service.errors import CloseCode
from service.protocol.server import SessionPong


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
