"""Servers for what the service asks of others: plain sockets that say what a test wants, and a resolver of its own.

Invariant: they listen on addresses of this machine only, 127.0.0.0/8, each test on its own port.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service.outbound.addresses import Address, address_rule
from service.outbound.fetching import Outbound

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Listener:
    """`asked`: the requests that came, whole."""

    port: int
    asked: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def listening(answer: Answer, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Listener]:
    found = Listener(port)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: ")), 0
            )
            found.asked.append(head + await reader.readexactly(length))
            await answer(head, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the service has heard enough
        finally:
            writer.close()

    server = await asyncio.start_server(talk, host, port)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


def saying(*parts: bytes) -> Answer:
    """Whatever is asked."""

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)

    return answer


def ok(body: bytes, *headers: str) -> bytes:
    head = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


def moved(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@dataclass(slots=True)
class Names:
    """A resolver: each name's answers, one after the other; the last one stays. `asked`: how often each was."""

    answers: dict[str, list[str]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str) -> tuple[Address, ...]:
        self.asked.append(host)
        left = self.answers.get(host)
        if not left:
            raise OSError("no such host")
        text = left.pop(0) if len(left) > 1 else left[0]
        return tuple(ipaddress.ip_address(word) for word in text.split())


def way_out(names: Names | None = None, **changes: object) -> Outbound:
    """Plain HTTP, and one address of this machine that counts as public: 127.0.0.1."""
    said = {"rule": address_rule(["127.0.0.1/32"]), "http_allowed": True, "timeout": 60.0}
    resolver = names or Names({"pictures.example": ["127.0.0.1"]})
    return Outbound(**(said | {"resolver": resolver} | changes))  # type: ignore[arg-type]
