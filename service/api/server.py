"""The HTTP server around the app: uvicorn with this service's bounds, and an end in order.

It knows nothing of sessions. Invariants: a message over the limit closes its connection with 1009 and text
that is not UTF-8 with 1007, before the app sees them; a peer that takes no more data is cut off within the
close timeout, one that does not finish the head of its request within the request timeout; at shutdown
sessions end first, connections then, and only then the sockets.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import ClassVar

import uvicorn
from fastapi import FastAPI
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from service.api.http_routes import ApiState
from service.api.rate import TokenBucket
from service.api.sockets import Sockets, bounded_http
from service.config import ServiceConfig
from service.errors import CloseCode

logger = logging.getLogger(__name__)

MAX_FRAGMENTS = 1024
_PIECE = 2048
"""Bytes of a WebSocket that are parsed at once: some hundred frames at most."""


class BoundedProtocol(WebSocketsSansIOProtocol):
    """Cuts off a peer that keeps its side open, floods it with pings, or sends a message in countless pieces."""

    limits: ClassVar[ServiceConfig]
    tracked: ClassVar[Sockets]
    _cut: asyncio.TimerHandle | None = None
    _beats: TokenBucket | None = None
    _unread = b""

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            self._cut_off_later()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._read_on()

    async def receive(self) -> ASGIReceiveEvent:
        event = await super().receive()
        self._read_on()
        return event

    def _read_on(self) -> None:
        """A piece at a time, and no further than one message: what comes in a flood is not parsed at once."""
        while self._unread and not self.read_paused and not self.transport.is_closing():
            piece, self._unread = self._unread[:_PIECE], self._unread[_PIECE:]
            super().data_received(piece)

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # a refusal completes it too; else it is logged as a fault

    def handle_ping(self) -> None:
        if self._beats_well():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._beats_well():
            super().handle_pong(event)

    def _beats_well(self) -> bool:
        """Pings and pongs have the bound of messages; over it, the connection ends."""
        if self.close_sent or self.transport.is_closing():
            return False
        now = self.loop.time()
        if self._beats is None:
            self._beats = TokenBucket(self.limits.message_rate, self.limits.message_burst, now=now)
        if self._beats.take(now) == 0:
            return True
        self.conn.fail(CloseCode.POLICY, "too many pings")
        self.handle_parser_exception()
        return False

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._cut_off_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self.tracked.gone(self.transport)
        super().connection_lost(exc)
        if self._cut is not None:
            self._cut.cancel()

    def _cut_off_later(self) -> None:
        """Closing waits for what is still to be written, which a peer that does not read makes for ever."""
        if self._cut is None and not self.disconnected:
            self._cut = self.loop.call_later(self.limits.close_timeout, self.transport.abort)

    def send_receive_event_to_app(self) -> None:
        """Refuses text that is not UTF-8 as uvicorn does, with a line in the log instead of a traceback."""
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(b"".join(self.frames)):
            logger.info("a client sent text that is not UTF-8")
            self.frames = []
            self.conn.send_close(1007)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        # Empty pieces cost the sender nothing and do not count towards the size limit.
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)


def bounded_protocol(config: ServiceConfig, sockets: Sockets) -> type[asyncio.Protocol]:
    """uvicorn's WebSocket protocol, with a bound where it has none."""

    class Bound(BoundedProtocol):
        limits = config
        tracked = sockets

    return Bound


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Server(uvicorn.Server):
    """Drains the app before the sockets are closed; `force_exit` cuts that short."""

    def __init__(self, config: uvicorn.Config, state: ApiState) -> None:
        super().__init__(config)
        self._state = state

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for whoever runs this server beside a worker: uvicorn would raise them again at the end."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.create_task(self._state.drain())
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=0.1)
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        await super().shutdown(sockets)


def build_server(app: FastAPI, config: ServiceConfig) -> Server:
    """A server for an app of `create_app`, not yet listening."""
    sockets = app.state.api.sockets
    settings = uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        http=bounded_http(config, sockets),
        ws=bounded_protocol(config, sockets),
        h11_max_incomplete_event_size=config.max_head_bytes,
        ws_max_size=config.max_message_bytes,
        ws_ping_interval=config.ping_interval,
        ws_ping_timeout=config.ping_timeout,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=max(1, round(config.close_timeout)),
        server_header=False,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    return Server(settings, app.state.api)
