"""One HTTP/1.1 request to one address, with bounds: the answer's head, and its body piece by piece.

It knows streams and h11; nothing of who asks or of which addresses are good. Invariants: it connects to the address it
is given and to no other, whatever the host is called; the certificate is checked against the host's name; nothing is
read beyond `max_bytes` of a body that was not compressed.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import h11

from service.outbound.addresses import Address
from service.outbound.targets import Target

_PIECE = 1 << 16
_READ = 1 << 14
_MOST_HEAD_BYTES = 16384


class ExchangeFailed(Exception):
    """The other side does not answer, or not as HTTP has it; or with more than was agreed."""


class TooLarge(ExchangeFailed):
    """The body has more bytes than the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What is asked. `max_bytes` bounds the body of the answer."""

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case; of several of one name the last."""
    body: bytes


async def exchange(
    target: Target, addresses: Sequence[Address], *, request: Outgoing, tls: ssl.SSLContext | None = None
) -> Answer:
    """Ask the first address that takes a connection. Raises ExchangeFailed; time is the caller's to bound."""
    context = (tls or ssl.create_default_context()) if target.secure else None
    async with _connection(target, addresses, context) as (reader, writer):
        try:
            return await _converse(target, request, reader=reader, writer=writer)
        except (OSError, ssl.SSLError, h11.ProtocolError, asyncio.IncompleteReadError) as error:
            raise ExchangeFailed(f"the connection failed: {type(error).__name__}") from error


@contextlib.asynccontextmanager
async def _connection(
    target: Target, addresses: Sequence[Address], context: ssl.SSLContext | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    name = target.host if context else None
    refused: Exception | None = None
    for address in addresses:
        try:
            reader, writer = await asyncio.open_connection(
                str(address), target.port, ssl=context, server_hostname=name, limit=_PIECE
            )
            break
        except (OSError, ssl.SSLError) as error:
            refused = error
    else:
        raise ExchangeFailed(f"no connection: {type(refused).__name__}") from refused
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _converse(
    target: Target, request: Outgoing, *, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Answer:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD_BYTES)
    headers = {"Host": target.authority, "User-Agent": "longtake", "Accept-Encoding": "identity", "Connection": "close"}
    headers |= request.headers
    if request.body or request.method == "POST":
        headers["Content-Length"] = str(len(request.body))
    events = [h11.Request(method=request.method, target=target.path, headers=list(headers.items()))]
    for event in (*events, h11.Data(data=request.body), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")
    await writer.drain()
    return await _read_answer(connection, reader, max_bytes=request.max_bytes)


async def _read_answer(connection: h11.Connection, reader: asyncio.StreamReader, *, max_bytes: int) -> Answer:
    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ))
        elif isinstance(event, h11.Response):
            head = event
            _check_length(_headers_of(head), max_bytes)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > max_bytes:
                raise TooLarge(f"the answer has more than {max_bytes} bytes")
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            if head is None:
                raise ExchangeFailed("the connection was closed without an answer")
            return Answer(head.status_code, _headers_of(head), bytes(body))


def _headers_of(head: h11.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers}


def _check_length(headers: Mapping[str, str], max_bytes: int) -> None:
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise TooLarge(f"the answer has more than {max_bytes} bytes")
    if headers.get("content-encoding", "identity") != "identity":
        raise ExchangeFailed("the answer is compressed, which was not asked for")
