"""Who comes in: origin, key and number of requests, looked at once for every request and every WebSocket.

It knows ASGI, the desk and the check of origins; nothing of what routes do. Invariants: nobody without a principal
reaches what lies under `/v1` or tells figures, whether or not its route asks for one; a page of another site gets
nothing, and cannot use up a token.
"""

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.desk import Desk
from service.access.principal import Principal
from service.access.principal import Scope as AccessScope
from service.api.credentials import credentials_of
from service.api.origin import Handshake, refusal_of
from service.api.reception import refuse
from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError

METRICS_PATH = "/metrics"
_GUARDED = "/v1/"


class Entrance:
    """ASGI middleware: leaves the principal in `scope["state"]["principal"]`."""

    def __init__(self, app: ASGIApp, *, desk: Desk, config: ServiceConfig) -> None:
        self._app = app
        self._desk = desk
        self._config = config
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not self._guards(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._principal(scope)
            self._begin(principal)
        except SessionError as error:
            await refuse(error, scope=scope, receive=receive, send=send, retry_after=self._config.retry_after)
            return
        try:
            scope.setdefault("state", {})["principal"] = principal
            await self._app(scope, receive, send)
        finally:
            self._end(principal)

    def _guards(self, path: str) -> bool:
        return path.startswith(_GUARDED) or (path == METRICS_PATH and not self._config.open_metrics)

    async def _principal(self, scope: Scope) -> Principal:
        """Raises SessionError."""
        handshake = handshake_of(scope)
        figures = scope["path"] == METRICS_PATH
        if handshake.origin is not None or handshake.subprotocols:
            self._check(handshake, missing_allowed=True)
        principal = await self._desk.identify(credentials_of(scope), client_address=handshake.client_address)
        keyed = principal is not None and principal.key_id is not None
        if not figures:
            self._check(handshake, missing_allowed=keyed or self._config.missing_origin == "allow")
        if principal is None:
            raise SessionError(ErrorCode.KEY_MISSING, "This needs a key: Authorization: Bearer KEY.")
        if figures and not principal.may(AccessScope.METRICS):
            raise SessionError(ErrorCode.SCOPE_MISSING, f"The key has no scope {AccessScope.METRICS.value}.")
        return principal

    def _check(self, handshake: Handshake, *, missing_allowed: bool) -> None:
        refused = refusal_of(
            handshake, allowed_origins=self._config.allowed_origins, missing_origin_allowed=missing_allowed
        )
        if refused is not None:
            raise SessionError(refused, "")

    def _begin(self, principal: Principal) -> None:
        """Counts what is under way of a key. Raises SessionError."""
        most = self._config.max_requests_per_key
        if principal.key_id is None:
            return
        if self._under_way[principal.key_id] >= most:
            raise SessionError(ErrorCode.CONNECTIONS_FULL, f"A key has {most} requests and WebSockets at once at most.")
        self._under_way[principal.key_id] += 1

    def _end(self, principal: Principal) -> None:
        if principal.key_id is None:
            return
        self._under_way[principal.key_id] -= 1
        if not self._under_way[principal.key_id]:
            del self._under_way[principal.key_id]


def handshake_of(scope: Scope) -> Handshake:
    """What a request or a handshake says of itself."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    client, server = scope.get("client"), scope.get("server")
    return Handshake(
        origin=headers.get(b"origin"),
        host=headers.get(b"host", ""),
        client_address=client[0] if client else "",
        server_address=server[0] if server else "",
        subprotocols=scope.get("subprotocols", ()),
    )
