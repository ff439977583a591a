"""The server at the level of bytes: what closes a connection, what does not, and that nothing is compressed."""

import asyncio
import base64
import contextlib
import os
import struct
from dataclasses import dataclass

import pytest

from service.api.app import REALTIME_PATH
from service.api.server import MAX_FRAGMENTS
from service.errors import CloseCode
from service.protocol import encode_message
from service.protocol.client import SessionPing, SessionStart
from tests.service.api.running import FAST, PATIENCE, Running, running

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


@dataclass(slots=True)
class RawClient:
    """A WebSocket client that sends exactly the bytes it is told to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    response: str

    @classmethod
    async def connect(cls, service: Running, *headers: str) -> "RawClient":
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        lines = [
            f"GET {REALTIME_PATH} HTTP/1.1",
            f"Host: {service.authority}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            *headers,
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        response = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        return cls(reader, writer, response.decode())

    def send(self, opcode: int, payload: bytes, *, last: bool = True) -> None:
        """One masked frame (the mask is zero, so the payload is readable as it is)."""
        first = bytes([opcode | (0x80 if last else 0)])
        if len(payload) < 126:
            length = bytes([0x80 | len(payload)])
        elif len(payload) < 65536:
            length = b"\xfe" + struct.pack("!H", len(payload))
        else:
            length = b"\xff" + struct.pack("!Q", len(payload))
        self.writer.write(first + length + bytes(4) + payload)

    async def receive(self) -> tuple[int, bytes]:
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readexactly(2)
            length = head[1] & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return head[0] & 0x0F, await self.reader.readexactly(length)

    async def close_code(self) -> int:
        """The code of the close frame, passing over whatever comes before it."""
        while True:
            opcode, payload = await self.receive()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def pong_of(client: RawClient) -> bytes:
    client.send(TEXT, encode_message(SessionPing(id="here")).encode())
    opcode, payload = await client.receive()
    assert opcode == TEXT
    return payload


async def test_text_that_is_not_utf8_closes_with_1007(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as service, service.connection() as other:
        client = await RawClient.connect(service)
        client.send(TEXT, b'{"type": "\xff\xfe"}')
        assert await client.close_code() == CloseCode.INVALID_TEXT
        await client.close()
        await other.say(SessionPing(id="still here"))
        await other.hear()
    assert "Traceback" not in caplog.text
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: a", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET"])
async def test_a_request_whose_head_does_not_end_is_cut_off(sent: bytes) -> None:
    async with running(FAST.model_copy(update={"request_timeout": 0.1})) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            while service.server.server_state.connections:
                await asyncio.sleep(0.01)
        writer.close()


async def test_a_websocket_is_not_cut_off_with_its_request() -> None:
    async with running(FAST.model_copy(update={"request_timeout": 0.05})) as service, service.connection() as talk:
        await asyncio.sleep(0.15)
        await talk.say(SessionPing(id="here"))
        await talk.hear()


@pytest.mark.parametrize("pieces", [1, 2, 50])
async def test_a_message_over_the_limit_closes_with_1009(pieces: int, caplog: pytest.LogCaptureFixture) -> None:
    async with running() as service, service.connection() as other:
        client = await RawClient.connect(service)
        piece = b" " * (FAST.max_message_bytes // pieces + 1)
        for index in range(pieces):
            client.send(TEXT if index == 0 else 0, piece, last=index == pieces - 1)
        assert await client.close_code() == CloseCode.TOO_BIG
        await client.close()
        await other.say(SessionPing(id="still here"))
        await other.hear()
    assert "Exception in ASGI application" not in caplog.text


async def test_a_message_at_the_limit_is_read() -> None:
    async with running() as service:
        client = await RawClient.connect(service)
        text = encode_message(SessionPing(id="here")).encode()
        client.send(TEXT, text + b" " * (FAST.max_message_bytes - len(text)))
        assert await client.receive() == (TEXT, b'{"type":"session.pong","id":"here"}')
        await client.close()


async def test_a_message_in_countless_empty_pieces_closes_with_1009() -> None:
    async with running() as service:
        client = await RawClient.connect(service)
        client.send(TEXT, b"", last=False)
        for _ in range(MAX_FRAGMENTS + 1):
            client.send(0, b"", last=False)
        assert await client.close_code() == CloseCode.TOO_BIG
        await client.close()


async def test_a_message_in_some_pieces_is_read() -> None:
    async with running() as service:
        client = await RawClient.connect(service)
        text = encode_message(SessionPing(id="here")).encode()
        for index in range(len(text)):
            client.send(TEXT if index == 0 else 0, text[index : index + 1], last=index == len(text) - 1)
        assert await client.receive() == (TEXT, b'{"type":"session.pong","id":"here"}')
        await client.close()


@pytest.mark.parametrize(
    "frame",
    [b"\xf1\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x81\x01a", b"\x09\x80\0\0\0\0", b"\x80\x80\0\0\0\0"],
    ids=["reserved bits", "reserved opcode", "no mask", "ping in pieces", "continues nothing"],
)
async def test_what_is_not_websocket_closes_with_1002(frame: bytes) -> None:
    async with running() as service:
        client = await RawClient.connect(service)
        client.writer.write(frame)
        assert await client.close_code() == 1002
        await client.close()


async def test_a_bad_frame_in_the_middle_of_a_session_frees_its_place(caplog: pytest.LogCaptureFixture) -> None:
    async with running(frame_bytes=20_000) as service:
        client = await RawClient.connect(service)
        client.send(TEXT, encode_message(SessionStart(prompt="a", pacing="none")).encode())
        await client.receive()
        client.send(TEXT, b"\xff")
        assert await client.close_code() == CloseCode.INVALID_TEXT
        async with asyncio.timeout(PATIENCE):
            while service.worker.worker.sessions or len(service.state.connections):
                await asyncio.sleep(0.01)
        await client.close()
    assert "Exception in ASGI application" not in caplog.text


async def test_pings_are_answered_and_asked_for() -> None:
    config = FAST.model_copy(update={"ping_interval": 0.05, "ping_timeout": 0.1, "close_timeout": 0.1})
    async with running(config) as service:
        client = await RawClient.connect(service)
        client.send(PING, b"hello")
        answers = [await client.receive(), await client.receive()]
        assert (PONG, b"hello") in answers
        assert any(opcode == PING for opcode, _ in answers)
        assert await client.close_code() == 1011  # the pong was not sent in time
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.read() == b""
            while len(service.state.connections):
                await asyncio.sleep(0.01)
        await client.close()


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_a_flood_of_pings_ends_its_connection_and_no_other(opcode: int) -> None:
    config = FAST.model_copy(update={"message_rate": 0.001, "message_burst": 10})
    async with running(config) as service, service.connection() as other:
        client = await RawClient.connect(service)
        for _ in range(1000):
            client.send(opcode, b"")
        assert await client.close_code() == CloseCode.POLICY
        await client.close()
        await other.say(SessionPing(id="still here"))
        await other.hear()


async def test_nothing_is_compressed() -> None:
    async with running() as service:
        client = await RawClient.connect(service, "Sec-WebSocket-Extensions: permessage-deflate")
        assert " 101 " in client.response
        assert "extensions" not in client.response.lower()
        assert await pong_of(client) == b'{"type":"session.pong","id":"here"}'
        await client.close()


async def test_a_peer_that_never_closes_its_side_is_cut_off() -> None:
    config = FAST.model_copy(update={"start_timeout": 0.05, "close_timeout": 0.1})
    async with running(config) as service:
        client = await RawClient.connect(service)
        assert await client.close_code() == CloseCode.POLICY
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.read() == b""
            while service.server.server_state.connections:
                await asyncio.sleep(0.01)
        await client.close()
