"""ChunkBuffer and Answers: bounds, order, and an end for everybody who waits."""

import asyncio

import pytest

from client.answers import Answer, Answers
from client.buffer import ChunkBuffer
from client.chunk import Chunk
from client.errors import ClientStateError, SessionEnded, WaitTimeout
from tests.client.fake_server import HEIGHT, WIDTH, make_chunk


def chunk(sequence: int) -> Chunk:
    metadata, payload = make_chunk(sequence)
    return Chunk(metadata, payload, WIDTH, HEIGHT, 0.0)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_full_buffer_waits_for_room_and_keeps_the_order() -> None:
    buffer = ChunkBuffer(2)

    async def fill() -> None:
        for sequence in range(5):
            await buffer.put(chunk(sequence))
        buffer.close()

    filling = asyncio.create_task(fill())
    await settle()
    assert len(buffer) == 2
    taken = []
    while (one := await buffer.get()) is not None:
        taken.append(one.sequence)
        assert len(buffer) <= 2
    assert taken == list(range(5))
    await filling
    assert await buffer.get() is None


async def test_bound_is_lifted_while_an_answer_is_awaited_and_holds_again() -> None:
    buffer = ChunkBuffer(1)
    await buffer.put(chunk(0))
    late = asyncio.create_task(buffer.put(chunk(1)))
    await settle()
    with buffer.without_bound():
        await late
        await buffer.put(chunk(2))
    late = asyncio.create_task(buffer.put(chunk(3)))
    await settle()
    assert (len(buffer), late.done()) == (3, False)
    assert [one.sequence for one in buffer.take_back(1)] == [1, 2]
    await settle()
    assert not late.done()
    assert (await buffer.get()) is not None
    await late


async def test_close_wakes_both_ends() -> None:
    empty, full = ChunkBuffer(1), ChunkBuffer(1)
    await full.put(chunk(0))
    waiting = [asyncio.create_task(empty.get()), asyncio.create_task(full.put(chunk(1)))]
    await settle()
    empty.close()
    full.close()
    assert await asyncio.gather(*waiting) == [None, None]


async def test_answers_come_fail_end_and_time_out() -> None:
    answers = Answers[int]()
    given, refused, ended, none = (answers.expect(name) for name in "abcd")
    answers.give("a", 1)
    answers.give("a", 2)
    answers.give("nobody", 3)
    assert answers.fail("b", ClientStateError("no"))
    assert not answers.fail("nobody", ClientStateError("no"))
    assert not answers.fail(None, ClientStateError("no"))
    with pytest.raises(WaitTimeout, match=r"expected d within 0\.01 s"):
        await none.wait(0.01, "d")
    answers.end(SessionEnded("over"))
    assert await given.wait(1.0, "a") == 1
    with pytest.raises(ClientStateError, match="no"):
        await refused.wait(1.0, "b")
    with pytest.raises(SessionEnded, match="over"):
        await ended.wait(1.0, "c")


async def test_wait_can_be_extended() -> None:
    answer = Answer[int]()
    waiting = asyncio.create_task(answer.wait(0.02, "it"))
    await settle()
    answer.extend(5.0)
    await asyncio.sleep(0.05)
    answer.give(7)
    assert await waiting == 7
