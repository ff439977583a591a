"""Requests before anybody looks at what they want: their headers, and how much body comes how fast.

It knows ASGI messages and settings; nothing of routes beyond their addresses. Invariants: a body is never longer than
its bound, whatever the headers say, nor waited for longer than its size allows; what a route makes of a body that was
cut off is never sent in place of the reason.
"""

import asyncio
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from service.api.problem import problem_of
from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError


class Reception:
    """ASGI middleware.

    Args:
        own_bounds: beginnings of addresses with another bound on the size of a body, in bytes.
    """

    def __init__(self, app: ASGIApp, *, config: ServiceConfig, own_bounds: Mapping[str, int]) -> None:
        self._app = app
        self._config = config
        self._own_bounds = own_bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self._head_refusal(scope)
        if refused is not None:
            await refuse(refused, scope=scope, receive=receive, send=send, retry_after=self._config.retry_after)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._with_body(scope, receive, send)

    def _head_refusal(self, scope: Scope) -> SessionError | None:
        config, headers = self._config, scope["headers"]
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        size += len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if len(headers) > config.max_headers or size > config.max_head_bytes:
            message = f"A request has {config.max_headers} headers and {config.max_head_bytes} bytes of them at most."
            return SessionError(ErrorCode.HEADERS_TOO_LARGE, message)
        return None

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = BoundedBody(receive, self._config, most=self._bound(scope["path"]))
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if body.failure is not None and not started:
                return  # whatever the route makes of half a body, the reason is said below
            started = True
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > body.most:
            body.failure = body.too_large()
        else:
            try:
                await self._app(scope, body.receive, guarded)
            except BodyCutOff:
                started = started and body.failure is None
        if body.failure is not None and not started:
            await refuse(body.failure, scope=scope, receive=receive, send=send, retry_after=self._config.retry_after)

    def _bound(self, path: str) -> int:
        for beginning, most in self._own_bounds.items():
            if path == beginning or path.startswith(f"{beginning}/"):
                return most
        return self._config.max_body_bytes


class BodyCutOff(SessionError):
    """More of a body is not read."""


class BoundedBody:
    """A request's `receive`, with bounds on the size of the body and on its time."""

    def __init__(self, receive: Receive, config: ServiceConfig, *, most: int) -> None:
        self._receive = receive
        self._config = config
        self.most = most
        self._began = asyncio.get_running_loop().time()
        self._received = 0
        self._more = True
        self.failure: BodyCutOff | None = None

    async def receive(self) -> Message:
        """Raises BodyCutOff."""
        if not self._more:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline()):
                message = await self._receive()
        except TimeoutError:
            self.failure = BodyCutOff(ErrorCode.REQUEST_TIMEOUT, "The body did not arrive in time.")
            raise self.failure from None
        self._more = message["type"] == "http.request" and bool(message.get("more_body", False))
        self._received += len(message.get("body", b""))
        if self._received > self.most:
            self.failure = self.too_large()
            raise self.failure
        return message

    def too_large(self) -> BodyCutOff:
        return BodyCutOff(ErrorCode.BODY_TOO_LARGE, f"A body here has {self.most} bytes at most.")

    def _deadline(self) -> float:
        config = self._config
        return self._began + config.body_timeout + self._received / config.body_rate


async def refuse(error: SessionError, *, scope: Scope, receive: Receive, send: Send, retry_after: float) -> None:
    """The answer to a request, or to the handshake of a WebSocket, that goes no further."""
    response = problem_of(error, retry_after=retry_after)
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
        return
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
