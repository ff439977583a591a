"""TCP connections before there is a request: how many, of whom, and how long one may take to say what it wants.

It knows uvicorn's HTTP protocol and nothing of the app. Invariants: a socket counts from its beginning to its end, as a
WebSocket too; where there are too many, the one that waited longest for a request goes; a head that is too long, too
late or no HTTP is answered with a problem, and a peer that takes no data is cut off.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from service.api.problem import problem_response
from service.config import ServiceConfig
from service.errors import ErrorCode


@dataclass(slots=True)
class Sockets:
    """All that are open, over both protocols. `waiting` have no request under way, the longest wait first."""

    config: ServiceConfig
    addresses: dict[asyncio.BaseTransport, str] = field(default_factory=dict)
    of_address: Counter[str] = field(default_factory=Counter)
    waiting: dict[asyncio.Transport, None] = field(default_factory=dict)
    on_refused: Callable[[ErrorCode], object] = str

    def __len__(self) -> int:
        return len(self.addresses)

    def come(self, transport: asyncio.Transport) -> ErrorCode | None:
        """A new one; the code with which it has to go, if it cannot stay. It counts until `gone`."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        crowded = self.of_address[address] >= self.config.max_sockets_per_address
        full = len(self.addresses) >= self.config.max_sockets and not self._make_room()
        self.addresses[transport] = address
        self.of_address[address] += 1
        if crowded or full:
            code = ErrorCode.CONNECTIONS_FULL if crowded else ErrorCode.CAPACITY
            self.on_refused(code)
            return code
        self.waiting[transport] = None
        return None

    def busy(self, transport: asyncio.Transport) -> None:
        """It has a request under way, or has become a WebSocket."""
        self.waiting.pop(transport, None)

    def idle(self, transport: asyncio.Transport) -> None:
        """It waits for its next request, as the last of all."""
        if transport in self.addresses:
            self.waiting.pop(transport, None)
            self.waiting[transport] = None

    def gone(self, transport: asyncio.BaseTransport) -> None:
        address = self.addresses.pop(transport, None)
        if address is None:
            return
        self.waiting.pop(cast("asyncio.Transport", transport), None)
        self.of_address[address] -= 1
        if not self.of_address[address]:
            del self.of_address[address]

    def _neighbours(self, transport: asyncio.BaseTransport) -> int:
        """How many sockets its address has."""
        return self.of_address[self.addresses[transport]]

    def _make_room(self) -> bool:
        """Ends the socket that has waited longest, of those whose address has the most; False where all are busy.

        A crowd that comes at once is newer than whoever has just asked and was not read yet.
        """
        crowd = max((self._neighbours(transport) for transport in self.waiting), default=0)
        oldest = next((transport for transport in self.waiting if self._neighbours(transport) == crowd), None)
        if oldest is None:
            return False
        self.gone(oldest)
        oldest.abort()
        return True


class BoundedHttp(H11Protocol):
    """Refuses a socket, or ends it, where a bound is reached."""

    limits: ClassVar[ServiceConfig]
    tracked: ClassVar[Sockets]
    _patience: asyncio.TimerHandle | None = None
    _cut: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        code = self.tracked.come(transport)
        if code is not None:
            self._refuse(code)
            return
        self._be_patient()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        self._be_patient()

    def handle_events(self) -> None:
        super().handle_events()
        if self.transport.get_protocol() is not self or not self._idle:
            self.tracked.busy(self.transport)

    def on_response_complete(self) -> None:
        self.tracked.idle(self.transport)
        super().on_response_complete()
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        self.tracked.gone(self.transport)
        super().connection_lost(exc)
        for timer in (self._patience, self._cut):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cut = self._cut or self.loop.call_later(self.limits.send_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._cut is not None and not self._refused:
            self._cut.cancel()
            self._cut = None

    def send_400_response(self, msg: str) -> None:
        """What came is no request: before it was one, a problem; in the middle of one, the end."""
        del msg
        if not self._idle and self.cycle.response_started:
            self.transport.abort()
            return
        hint = getattr(sys.exc_info()[1], "error_status_hint", 400)
        self._refuse(ErrorCode.HEADERS_TOO_LARGE if hint == 431 else ErrorCode.REQUEST_INVALID)

    @property
    def _idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # declared without the None it begins with
        return cycle is None or cycle.response_complete

    def _be_patient(self) -> None:
        if self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(self.limits.request_timeout, self._look)

    def _look(self) -> None:
        """Ends a connection that has no request under way and has not become a WebSocket."""
        self._patience = None
        if not self._idle or self.transport.get_protocol() is not self:
            return
        if self.conn.trailing_data[0] and self.conn.their_state is h11.IDLE:
            self._refuse(ErrorCode.REQUEST_TIMEOUT)
        else:
            self.transport.abort()

    def _refuse(self, code: ErrorCode) -> None:
        """A last answer, at the level of bytes: there may be no request that it belongs to."""
        self._refused = True
        if not self._idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_answer(code, retry_after=self.limits.retry_after))
        self.transport.close()
        self._cut = self._cut or self.loop.call_later(self.limits.close_timeout, self.transport.abort)


def bounded_http(config: ServiceConfig, sockets: Sockets) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, with bounds on the number of sockets, on heads and on their time."""

    class Bound(BoundedHttp):
        limits = config
        tracked = sockets

    return Bound


def _answer(code: ErrorCode, *, retry_after: float) -> bytes:
    wait = retry_after if code in (ErrorCode.CAPACITY, ErrorCode.CONNECTIONS_FULL) else None
    response = problem_response(code, retry_after=wait)
    lines = [f"HTTP/1.1 {response.status_code} ".encode(), b"connection: close"]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
