"""What a request says of who sent it: a key in a header, or a token where a browser can put one.

It knows ASGI scopes and nothing of what keys are good for. Invariants: a key is read from the header Authorization
only, so that none ends up in an address; a token for files is read from requests that read only.
"""

from urllib.parse import parse_qs

from starlette.types import Scope

from service.access.desk import Credentials

TOKEN_SUBPROTOCOL = "longtake.token."
"""Before a token, as one of the subprotocols that a page offers: it can set no header."""
TOKEN_PARAMETER = "token"
_READING = ("GET", "HEAD")


def credentials_of(scope: Scope) -> Credentials:
    """The first that is there of: key, token among the subprotocols, token in the address."""
    key = _bearer(scope)
    if key is not None:
        return Credentials(key=key)
    if scope["type"] == "websocket":
        return Credentials(socket_token=_offered(scope["subprotocols"]) or _asked(scope))
    if scope["method"] in _READING:
        return Credentials(path_token=_asked(scope), path=scope["path"])
    return Credentials()


def _bearer(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, key = value.decode("latin-1").strip().partition(" ")
            return key.strip() if kind.lower() == "bearer" else ""
    return None


def _offered(subprotocols: list[str]) -> str | None:
    found = (name.removeprefix(TOKEN_SUBPROTOCOL) for name in subprotocols if name.startswith(TOKEN_SUBPROTOCOL))
    return next(found, None)


def _asked(scope: Scope) -> str | None:
    # As many fields as there are: the head of a request has its bound.
    values = parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN_PARAMETER)
    return values[0] if values else None
