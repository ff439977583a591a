"""The outbox: order, its bound, the last word, and room for what is read."""

import asyncio

import pytest

from service.api.outbox import Outbox, OutboxFull
from service.api.reply import Reply
from service.errors import CloseCode
from service.protocol.server import SessionPong

LAST = Reply(SessionPong(id="last"), close=CloseCode.NORMAL)


def pong(number: int) -> Reply:
    return Reply(SessionPong(id=str(number)))


def drained(outbox: Outbox) -> list[Reply]:
    taken = []
    while (reply := outbox.take()) is not None:
        taken.append(reply)
    return taken


def test_what_is_put_in_comes_out_in_order() -> None:
    outbox = Outbox(4)
    outbox.put(pong(0), pong(1))
    outbox.put(pong(2))
    assert not outbox.empty
    assert drained(outbox) == [pong(0), pong(1), pong(2)]
    assert outbox.empty


def test_there_is_a_bound_but_always_room_for_the_last_word() -> None:
    outbox = Outbox(2)
    outbox.put(pong(0), pong(1))
    with pytest.raises(OutboxFull, match="at most 2"):
        outbox.put(pong(2))
    outbox.put(LAST)
    assert drained(outbox) == [pong(0), pong(1), LAST]


def test_nothing_is_taken_in_after_the_last_word() -> None:
    outbox = Outbox(2)
    outbox.put(LAST, pong(0))
    outbox.put(pong(1))
    assert drained(outbox) == [LAST]


def test_what_waits_can_be_dropped_for_a_last_word() -> None:
    outbox = Outbox(2)
    outbox.put(pong(0), pong(1))
    outbox.replace(LAST)
    assert drained(outbox) == [LAST]


async def test_who_reads_waits_until_half_of_the_room_is_free() -> None:
    outbox = Outbox(4)
    outbox.put(*(pong(number) for number in range(4)))
    waiting = asyncio.create_task(outbox.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.take()
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.take()
    await waiting


async def test_after_the_last_word_nobody_waits_for_room() -> None:
    outbox = Outbox(2)
    outbox.put(pong(0), pong(1), LAST)
    await outbox.wait_for_room()
