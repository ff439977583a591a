"""Sockets before there is a request: numbers, addresses, heads; each limit with what trips it."""

import asyncio
import json
from dataclasses import dataclass

import pytest

from service.api.sockets import Sockets
from service.config import ServiceConfig
from service.errors import ErrorCode
from tests.service.api.running import FAST, PATIENCE, Running, running

CONFIG = ServiceConfig(max_sockets=8, max_sockets_per_address=6)
ALIVE = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"


class FakeTransport(asyncio.Transport):
    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1)})
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_an_address_has_so_many() -> None:
    refused: list[ErrorCode] = []
    sockets = Sockets(CONFIG, on_refused=refused.append)
    mine = [FakeTransport("a") for _ in range(7)]
    assert [sockets.come(transport) for transport in mine] == [None] * 6 + [ErrorCode.CONNECTIONS_FULL]
    assert sockets.come(FakeTransport("b")) is None
    for transport in mine:
        sockets.gone(transport)
    assert (len(sockets), dict(sockets.of_address)) == (1, {"b": 1})
    assert refused == [ErrorCode.CONNECTIONS_FULL]


def test_where_there_are_too_many_the_one_that_waited_longest_goes() -> None:
    sockets = Sockets(CONFIG)
    held = [FakeTransport(str(number)) for number in range(8)]
    assert [sockets.come(transport) for transport in held] == [None] * 8
    sockets.busy(held[0])
    sockets.idle(held[1])
    for late in range(3):
        assert sockets.come(FakeTransport(f"late {late}")) is None
    assert [transport.aborted for transport in held] == [False, False, True, True, True, False, False, False]
    assert len(sockets) == 8
    sockets.gone(held[2])
    assert len(sockets) == 8


def test_a_crowd_of_one_address_costs_nobody_elses() -> None:
    sockets = Sockets(CONFIG)
    guest = FakeTransport("guest")
    crowd = [FakeTransport("crowd" if number % 2 else "mob") for number in range(20)]
    assert sockets.come(guest) is None
    for transport in crowd:
        assert sockets.come(transport) is None
    assert not guest.aborted, "it came before all of them, and has not been read yet"
    assert [transport.aborted for transport in crowd] == [True] * 13 + [False] * 7


def test_where_all_are_busy_nobody_comes() -> None:
    sockets = Sockets(CONFIG)
    held = [FakeTransport(str(number)) for number in range(8)]
    for transport in held:
        assert sockets.come(transport) is None
        sockets.busy(transport)
    assert sockets.come(FakeTransport("late")) is ErrorCode.CAPACITY
    sockets.idle(held[3])
    assert sockets.come(FakeTransport("later")) is None
    assert held[3].aborted


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        code: str = json.loads(self.body)["code"]
        return code


async def answer(reader: asyncio.StreamReader) -> Answer:
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        body = await reader.readexactly(int(headers["content-length"]))
    return Answer(int(head[0].split()[1]), headers, body)


async def say(service: Running, *pieces: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    return reader, writer


async def closed(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""


async def test_one_more_of_an_address_is_told_why_and_when_to_come_back() -> None:
    async with running(FAST.model_copy(update={"max_sockets_per_address": 2})) as service:
        held = [await say(service, ALIVE) for _ in range(2)]
        for reader, _ in held:
            assert (await answer(reader)).status == 200
        reader, writer = await say(service)
        found = await answer(reader)
        assert (found.status, found.code, found.headers["retry-after"]) == (429, ErrorCode.CONNECTIONS_FULL, "5")
        await closed(reader)
        writer.close()
        held[0][1].close()
        async with asyncio.timeout(PATIENCE):
            while len(service.state.sockets) > 1:
                await asyncio.sleep(0.01)
        reader, writer = await say(service, ALIVE)
        assert (await answer(reader)).status == 200
        for _, other in (*held, (reader, writer)):
            other.close()


async def test_an_idle_socket_gives_way_to_one_that_asks() -> None:
    async with running(FAST.model_copy(update={"max_sockets": 8})) as service:
        held = [await say(service, b"GET /liv") for _ in range(8)]
        async with asyncio.timeout(PATIENCE):
            while len(service.state.sockets) < 8:
                await asyncio.sleep(0.01)
        reader, writer = await say(service, ALIVE)
        assert (await answer(reader)).status == 200
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await asyncio.wait_for(held[0][0].readexactly(1), PATIENCE)
        for _, other in (*held, (reader, writer)):
            other.close()


async def test_a_head_that_comes_too_slowly_is_told_so() -> None:
    async with running(FAST.model_copy(update={"request_timeout": 0.2})) as service:
        reader, writer = await say(service, b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        found = await answer(reader)
        assert (found.status, found.code) == (408, ErrorCode.REQUEST_TIMEOUT)
        await closed(reader)
        writer.close()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000, 431, ErrorCode.HEADERS_TOO_LARGE),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 101 + b"\r\n", 431, ErrorCode.HEADERS_TOO_LARGE),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17000 + b"\r\n\r\n", 431, ErrorCode.HEADERS_TOO_LARGE),
        (b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431, ErrorCode.HEADERS_TOO_LARGE),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400, ErrorCode.REQUEST_INVALID),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400, ErrorCode.REQUEST_INVALID),
    ],
    ids=["endless", "many", "long", "address", "TLS", "no host"],
)
async def test_what_is_no_request_is_a_problem(sent: bytes, status: int, code: ErrorCode) -> None:
    async with running() as service:
        reader, writer = await say(service, sent)
        found = await answer(reader)
        assert (found.status, found.code) == (status, code)
        assert found.headers["content-type"] == "application/problem+json"
        await closed(reader)
        writer.close()


async def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    async with running(FAST.model_copy(update={"send_timeout": 0.2})) as service:
        reader, writer = await say(service)
        for _ in range(2000):  # answers that nobody takes: more than all buffers on the way hold
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            while not len(service.state.sockets):
                await asyncio.sleep(0.01)
            while len(service.state.sockets):
                await asyncio.sleep(0.01)
        assert not reader.at_eof()
        writer.transport.abort()
