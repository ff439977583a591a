"""A WebSocket client of bytes, for tests of what no library would send.

It knows frames and nothing of messages. Invariant: exactly the bytes that it is told to send are sent.
"""

import asyncio
import base64
import contextlib
import os
import struct
from dataclasses import dataclass

from service.api.app import REALTIME_PATH
from tests.service.api.running import PATIENCE, Running

CONTINUE, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes = b"", *, last: bool = True, reserved: int = 0) -> bytes:
    """One masked frame; the mask is zero, so the payload is readable as it is."""
    first = bytes([opcode | (0x80 if last else 0) | reserved << 4])
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        length = b"\xfe" + struct.pack("!H", len(payload))
    else:
        length = b"\xff" + struct.pack("!Q", len(payload))
    return first + length + bytes(4) + payload


def pieces(opcode: int, payload: bytes, size: int) -> bytes:
    """A message in frames of so many bytes."""
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    return b"".join(
        frame(CONTINUE if number else opcode, part, last=number == len(parts) - 1) for number, part in enumerate(parts)
    )


@dataclass(slots=True)
class RawSocket:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, service: Running) -> "RawSocket":
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        lines = [
            f"GET {REALTIME_PATH} HTTP/1.1",
            f"Host: {service.authority}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert b" 101 " in head
        return cls(reader, writer)

    async def send(self, data: bytes, *, chop: int = 0) -> None:
        """All at once, or so many bytes a write."""
        for at in range(0, len(data), chop or len(data) or 1):
            self.writer.write(data[at : at + (chop or len(data))])
            if chop:
                await asyncio.sleep(0)

    async def receive(self) -> tuple[int, bytes]:
        """The next frame, which is whole and not masked."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readexactly(2)
            assert head[0] & 0xF0 == 0x80
            length = head[1]
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return head[0] & 0x0F, await self.reader.readexactly(length)

    async def frames(self) -> list[tuple[int, bytes]]:
        """Everything up to the close frame, that one included; then the server ends the connection."""
        heard: list[tuple[int, bytes]] = []
        while not heard or heard[-1][0] != CLOSE:
            heard.append(await self.receive())
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                assert await self.reader.read() == b""
        return heard

    async def close_code(self) -> int:
        """The code of the close frame; 0 where it has none."""
        return int.from_bytes((await self.frames())[-1][1][:2], "big")

    def end(self) -> None:
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Until the end is carried out."""
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
