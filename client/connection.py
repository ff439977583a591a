"""The client's socket: opened, written, read and closed with a time-out each, and errors of our own tree.

Knows the websockets library; of messages only how they become text. Invariant: no call waits longer than its limit
in ClientOptions says, and no exception of the library leaves this module.
"""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from client.errors import ConnectFailed, ConnectionLost, WaitTimeout
from service.protocol import SUBPROTOCOL, ClientMessage, encode_message

ENDPOINT = "/v1/realtime/video"

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Every bound and time-out of a connection; seconds, chunks and bytes."""

    open_timeout: float = 10.0  # for the TCP and WebSocket handshakes
    start_timeout: float = 60.0  # from session.start to video.start
    message_timeout: float = 30.0  # silence of a server that should be sending
    send_timeout: float = 10.0  # for one message to leave
    close_timeout: float = 5.0
    buffer_chunks: int = 8  # chunks received and not yet taken; when full, nothing more is read from the socket
    max_message_bytes: int = 64 * 1024 * 1024
    notices: int = 100  # warnings and refusals kept, the newest
    pending_prompts: int = 1024  # prompts whose fate is not yet known


def realtime_url(url: str) -> str:
    """The WebSocket address that is meant by `url`: http becomes ws, and the endpoint is added where it is missing."""
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = parts.path.rstrip("/")
    if not path.endswith(ENDPOINT):
        path += ENDPOINT
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


class Connection:
    """One WebSocket; `Connection.open` makes it."""

    def __init__(self, socket: ClientConnection, options: ClientOptions) -> None:
        self._socket = socket
        self._options = options

    @classmethod
    async def open(cls, url: str, options: ClientOptions) -> "Connection":
        """Connect to `url` (see `realtime_url`). Raises ConnectFailed."""
        address = realtime_url(url)
        # Keep-alive is done with session.ping and message_timeout: a reader that waits for a slow consumer would not
        # see a pong, and the library would then close a healthy connection. Pictures do not shrink when deflated.
        direct = urlsplit(address).hostname in _LOOPBACK
        try:
            socket = await open_websocket(
                address,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                proxy=None if direct else True,
                open_timeout=options.open_timeout,
                close_timeout=options.close_timeout,
                ping_interval=None,
                max_size=options.max_message_bytes,
                max_queue=4,
            )
        except (OSError, TimeoutError, InvalidURI, WebSocketException) as error:
            raise ConnectFailed(f"expected a Longtake server at {address}: {error}") from error
        return cls(socket, options)

    async def send(self, message: ClientMessage) -> None:
        """Raises ConnectionLost, WaitTimeout."""
        limit = self._options.send_timeout
        try:
            async with asyncio.timeout(limit):
                await self._socket.send(encode_message(message))
        except TimeoutError as error:
            raise WaitTimeout(f"expected {message.type} to leave within {limit:g} s") from error
        except ConnectionClosed as error:
            raise _lost(error) from error

    async def receive(self, limit: float | None) -> str | bytes:
        """The next message, within `limit` seconds (None: no limit). Raises ConnectionLost, WaitTimeout."""
        try:
            async with asyncio.timeout(limit):
                return await self._socket.recv()
        except TimeoutError as error:
            raise WaitTimeout(f"expected a message from the server within {limit} s, got none") from error
        except ConnectionClosed as error:
            raise _lost(error) from error

    async def close(self) -> None:
        await self._socket.close()


def _lost(error: ConnectionClosed) -> ConnectionLost:
    close = error.rcvd
    if close is None:
        return ConnectionLost("the connection broke without session.done or an error")
    reason = f" ({close.reason})" if close.reason else ""
    return ConnectionLost(
        f"the connection was closed with {close.code}{reason} without session.done or an error", close_code=close.code
    )
