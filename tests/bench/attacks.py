"""Hostile clients for `python -m tests.bench.hostile`: what each of them does, and nothing of what it is measured by.

It knows sockets. Invariants: each attack runs until it is cancelled and leaves no socket behind; sockets that the
server closes are opened again, so that the attack goes on; attackers come from addresses of their own.
"""

import asyncio
import contextlib
import os
from base64 import b64encode
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from service.api.app import REALTIME_PATH
from service.protocol import encode_message
from service.protocol.client import SessionStart

PAUSE = 0.2
START = encode_message(SessionStart(prompt="a lighthouse", pacing="none")).encode()
_PING = b"\x89\x80\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Target:
    host: str
    port: int
    source: str = "127.0.0.2"

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"


class Socket:
    """One connection from an address of its own, closed with the context."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def __aenter__(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = self._target
        self.reader, self.writer = await asyncio.open_connection(
            target.host, target.port, local_addr=(target.source, 0)
        )
        return self.reader, self.writer

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()


async def slow_head(target: Target) -> None:
    """A byte of a header now and then."""
    async with Socket(target) as (_, writer):
        writer.write(f"GET /livez HTTP/1.1\r\nHost: {target.authority}\r\nX: ".encode())
        while not writer.transport.is_closing():
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(PAUSE)


async def slow_body(target: Target) -> None:
    """A byte of a body now and then."""
    async with Socket(target) as (_, writer):
        head = f"POST /v1/tokens HTTP/1.1\r\nHost: {target.authority}\r\nContent-Length: 100000\r\n"
        writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode())
        while not writer.transport.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(PAUSE)


async def idle(target: Target) -> None:
    """Nothing at all."""
    async with Socket(target) as (reader, _):
        await reader.read()
        await asyncio.sleep(PAUSE)


async def slow_reader(target: Target) -> None:
    """Asks for documents and takes none."""
    async with Socket(target) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        asked = f"GET /openapi.json HTTP/1.1\r\nHost: {target.authority}\r\n\r\n".encode()
        while not writer.transport.is_closing():
            writer.write(asked)
            await writer.drain()
            await asyncio.sleep(PAUSE)


async def slow_watcher(target: Target) -> None:
    """A session as fast as it can be made, of which nothing is taken."""
    async with Socket(target) as (reader, writer):
        if not await _upgrade(target, reader, writer):
            return
        writer.write(_frame(START))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        while not writer.transport.is_closing():
            await asyncio.sleep(PAUSE)


async def ping_flood(target: Target) -> None:
    """Pings as fast as the socket takes them."""
    async with Socket(target) as (reader, writer):
        if not await _upgrade(target, reader, writer):
            return
        flood = _PING * 1000
        while not writer.transport.is_closing() and not reader.at_eof():
            writer.write(flood)
            await writer.drain()
            await asyncio.sleep(0)


ATTACKS: dict[str, tuple[Callable[[Target], Coroutine[None, None, None]], int]] = {
    "slow heads": (slow_head, 300),
    "slow bodies": (slow_body, 300),
    "slow readers": (slow_reader, 100),
    "slow watchers": (slow_watcher, 64),
    "idle sockets": (idle, 2000),
    "ping flood": (ping_flood, 32),
}
"""What attacks there are, and with how many sockets at once."""


async def again_and_again(attack: Callable[[Target], Coroutine[None, None, None]], target: Target) -> None:
    """One attacker, who comes back when it is thrown out."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await attack(target)
        await asyncio.sleep(PAUSE)


async def _upgrade(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    lines = [
        f"GET {REALTIME_PATH} HTTP/1.1",
        f"Host: {target.authority}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    return b" 101 " in await reader.readuntil(b"\r\n\r\n")


def _frame(payload: bytes) -> bytes:
    """One masked text message of less than 64 KiB; the mask is zero."""
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload
