"""Every request as those who run the service see it: an id, a line in the log, a span.

It knows ASGI, the bound ids and traces; nothing of what requests want. Invariants: each request has an id, the
caller's own where that is a plain word, and the answer says it; no part of a body, no query and no key is ever told.
"""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.ids import TRACEPARENT, bind, unbind
from service.telemetry.logs import ACCESS
from service.telemetry.tracing import Span, Tracing

logger = logging.getLogger(ACCESS)

REQUEST_ID = "X-Request-Id"
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_HEADS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class Observing:
    """ASGI middleware, before all others."""

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers, began = Headers(scope=scope), time.monotonic()
        request_id = _plain(headers.get(REQUEST_ID, "")) or uuid.uuid4().hex
        caller = headers.get(TRACEPARENT, "")
        caller = caller if _TRACEPARENT.fullmatch(caller) else ""
        method = scope.get("method", "WEBSOCKET")
        asked = {"http.request.method": method, "longtake.request": request_id}
        span = self._tracing.begin(method, parent=caller, kind="server", attributes=asked)
        token = bind(request_id=request_id, traceparent=span.traceparent or caller)
        status = 500

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] in _HEADS:
                status = message.get("status", 101)
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, answered)
        finally:
            self._tell(scope, span, status, seconds=time.monotonic() - began)
            unbind(token)

    def _tell(self, scope: Scope, span: Span, status: int, *, seconds: float) -> None:
        route, method = _route(scope), scope.get("method", "WEBSOCKET")
        principal = getattr(scope.get("state", {}).get("principal"), "key_id", None)
        told: dict[str, str | int] = {"http.route": route, "http.response.status_code": status}
        if principal:
            told["longtake.key"] = principal
        span.set(told)
        span.end(failed=f"{status}" if status >= 500 else "")
        fields = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
        fields |= {"key": principal} if principal else {}
        logger.info("%s %s %d", method, route, status, extra={"fields": fields})


def _plain(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else ""


def _route(scope: Scope) -> str:
    """The route that answered, not what was asked for: addresses have names of objects in them, and anything else."""
    return str(getattr(scope.get("route"), "path", "none"))
