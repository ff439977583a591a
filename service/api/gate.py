"""What routes ask about who asks: FastAPI dependencies over the principal that was found before the route ran.

It knows nothing of keys (service/access does) or of what routes do. Invariant: a request that nobody has looked at has
no principal, and is refused.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from service.access.principal import Principal, Scope
from service.errors import ErrorCode, SessionError


def principal_of(connection: HTTPConnection) -> Principal:
    """Who asks, for a request and for a WebSocket. Raises SessionError (`key_missing`) where nobody was found out."""
    found = getattr(connection.state, "principal", None)
    if not isinstance(found, Principal):
        raise SessionError(ErrorCode.KEY_MISSING, "This needs a key: Authorization: Bearer KEY.")
    return found


def needs(scope: Scope) -> Callable[[Principal], Principal]:
    """A dependency that gives the principal if it has `scope`, and raises SessionError (`scope_missing`) if not."""

    def check(principal: Annotated[Principal, Depends(principal_of)]) -> Principal:
        if not principal.may(scope):
            raise SessionError(ErrorCode.SCOPE_MISSING, f"The key has no scope {scope.value}.")
        return principal

    return check
