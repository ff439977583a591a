"""The client's socket: opened, written, read and closed with a time-out each, and errors of our own tree.

Knows the websockets library; of messages only how they become text. Invariant: no call waits longer than its limit
in ClientOptions says, and no exception of the library leaves this module.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Origin, Subprotocol

from client.errors import ConnectFailed, ConnectionLost, WaitTimeout
from service.protocol import SUBPROTOCOL, ClientMessage, encode_message

ENDPOINT = "/v1/realtime/video"


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Every bound and time-out of a connection; seconds, chunks and bytes."""

    open_timeout: float = 10.0  # for the TCP and WebSocket handshakes
    start_timeout: float = 60.0  # from session.start to video.start, or to the word that there is no place yet
    queue_timeout: float = 900.0  # from there on, to video.start
    message_timeout: float = 30.0  # silence of a server that should be sending
    send_timeout: float = 10.0  # for one message to leave
    close_timeout: float = 5.0
    buffer_chunks: int = 8  # chunks received and not yet taken; when full, nothing more is read from the socket
    max_message_bytes: int = 64 * 1024 * 1024
    notices: int = 100  # warnings and refusals kept, the newest
    pending_prompts: int = 1024  # prompts whose fate is not yet known
    playback_interval: float = 0.25  # between two reports of the playhead, in a paced session
    api_key: str | None = field(default=None, repr=False)  # where the server asks for one
    reconnect: bool = True  # come back by itself when the connection is lost, while the server keeps the session
    reconnect_delay: float = 0.25  # before the second attempt; doubled for each further one
    reconnect_delay_max: float = 5.0


def realtime_url(url: str) -> str:
    """The WebSocket address that is meant by `url`: http becomes ws, and the endpoint is added where it is missing."""
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = parts.path.rstrip("/")
    if not path.endswith(ENDPOINT):
        path += ENDPOINT
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def own_origin(address: str) -> str:
    """The Origin of a page that the server at this WebSocket address would serve itself."""
    parts = urlsplit(address)
    scheme = "https" if parts.scheme == "wss" else "http"
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}"


def bearer(api_key: str | None) -> dict[str, str]:
    """The header that shows a key, if there is one."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


async def is_on_this_machine(address: str) -> bool:
    """Whether all that the host of this address stands for is the loopback."""
    try:
        host = urlsplit(address).hostname
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return host is not None and all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)


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
        # A server takes a program without an Origin from its own machine only, as it cannot tell it from a page that
        # hides where it comes from; the server's own address is what a program elsewhere can say of itself.
        try:
            async with asyncio.timeout(options.open_timeout):
                local = await is_on_this_machine(address)
            connected = await open_websocket(
                address,
                origin=None if local else Origin(own_origin(address)),
                additional_headers=bearer(options.api_key),
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                proxy=None if local else True,
                open_timeout=options.open_timeout,
                close_timeout=options.close_timeout,
                ping_interval=None,
                max_size=options.max_message_bytes,
                max_queue=4,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            raise ConnectFailed(f"expected a Longtake server at {address}: {error}") from error
        return cls(connected, options)

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

    async def close(self, code: int = 1000) -> None:
        """1000 says that one is done with the session; any other code that one may come back."""
        await self._socket.close(code)

    def abort(self) -> None:
        """Let go of the socket at once, without a word to the other side."""
        self._socket.transport.abort()


def _lost(error: ConnectionClosed) -> ConnectionLost:
    close = error.rcvd
    if close is None:
        return ConnectionLost("the connection broke without session.done or an error")
    reason = f" ({close.reason})" if close.reason else ""
    return ConnectionLost(
        f"the connection was closed with {close.code}{reason} without session.done or an error", close_code=close.code
    )
