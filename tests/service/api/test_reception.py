"""Bodies: bounded in size and time, whatever the headers say, and the reason is what the client hears."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from service.errors import ErrorCode
from tests.service.api.running import FAST, PATIENCE, Running, running
from tests.service.api.test_sockets import answer, closed, say

HEAD = b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
SMALL = FAST.model_copy(update={"max_body_bytes": 2000, "body_timeout": 0.3, "body_rate": 1e9})


@pytest.fixture(name="service")
async def _service() -> AsyncIterator[Running]:
    async with running(SMALL) as service:
        yield service


async def test_a_body_that_is_announced_too_long_is_not_read(service: Running) -> None:
    reader, writer = await say(service, HEAD + b"Content-Length: 2001\r\n\r\n")
    found = await answer(reader)
    assert (found.status, found.code) == (413, ErrorCode.BODY_TOO_LARGE)
    await closed(reader)
    writer.close()


async def test_a_body_in_pieces_is_read_up_to_the_limit(service: Running) -> None:
    piece = b"3e8\r\n" + b"a" * 1000 + b"\r\n"
    reader, writer = await say(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", piece, piece, piece)
    found = await answer(reader)
    assert (found.status, found.code) == (413, ErrorCode.BODY_TOO_LARGE)
    await closed(reader)
    writer.close()


@pytest.mark.parametrize("sent", [b"", b'{"pa'])
async def test_a_body_that_does_not_arrive_is_given_up(service: Running, sent: bytes) -> None:
    reader, writer = await say(service, HEAD + b"Content-Length: 100\r\n\r\n", sent)
    found = await answer(reader)
    assert (found.status, found.code) == (408, ErrorCode.REQUEST_TIMEOUT)
    await closed(reader)
    writer.close()


async def test_a_long_body_has_longer(service: Running) -> None:
    """The time grows with what has come: a body that keeps its rate is not cut off."""
    async with running(SMALL.model_copy(update={"body_rate": 1.0, "body_timeout": 0.01})) as other:
        reader, writer = await say(other, HEAD + b"Content-Length: 102\r\n\r\n", b"{" + b" " * 100)
        await asyncio.sleep(0.1)
        writer.write(b"}")
        assert (await answer(reader)).status == 201
        writer.close()


async def test_a_broken_body_ends_the_request(service: Running) -> None:
    reader, writer = await say(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n")
    found = await answer(reader)
    assert (found.status, found.code) == (400, ErrorCode.REQUEST_INVALID)
    await closed(reader)
    writer.close()


async def test_who_leaves_in_the_middle_is_no_fault(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        _, writer = await say(service, HEAD + b"Content-Length: 100\r\n\r\n", b"{")
        writer.transport.abort()
    async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
        assert (await client.post("/v1/tokens", json={})).status_code == 201
    async with asyncio.timeout(PATIENCE):
        while service.server.server_state.tasks:
            await asyncio.sleep(0.01)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_picture_may_be_larger_than_other_bodies(service: Running) -> None:
    async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
        refused = await client.post("/v1/pictures", content=b"x" * 3000)
        assert refused.json()["code"] != ErrorCode.BODY_TOO_LARGE
        assert (await client.post("/v1/tokens", content=b" " * 3000)).json()["code"] == ErrorCode.BODY_TOO_LARGE
