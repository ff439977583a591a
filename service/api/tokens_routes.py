"""Tokens for browsers over REST: a page that has no key of its own is given one token for one thing.

It knows the desk; nothing of what the token will open. Invariant: a token is given for a key, never for another token,
as tokens open WebSockets and reading requests only, and this is neither.
"""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from service.access.desk import Desk
from service.access.principal import Principal, Scope
from service.api.credentials import TOKEN_SUBPROTOCOL
from service.api.gate import principal_of
from service.api.problem import problem_answers
from service.errors import ErrorCode, SessionError

TOKENS_PATH = "/v1/tokens"


class TokenRequest(BaseModel):
    """What a token is to open: one WebSocket, or with `path` the file at this address of the server.

    `scopes` are those of the key, or fewer.
    """

    model_config = ConfigDict(extra="forbid")

    path: str | None = Field(None, pattern=r"^/v1/[A-Za-z0-9/_.-]{1,512}$")
    scopes: frozenset[Scope] | None = None


class Token(BaseModel):
    """`expires_at` is in seconds since 1970.

    For a WebSocket `subprotocol` is offered besides the service's own, or `?token=` added; for a file the latter.
    """

    token: str
    expires_at: float
    path: str | None
    subprotocol: str | None


def tokens_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["access"])

    @router.post(
        TOKENS_PATH,
        status_code=201,
        responses=problem_answers(
            s400="The body is not JSON",
            s401="No key, or one that is not good",
            s403="The key has not all of these scopes, or a page of another site asks",
            s422="A value cannot be right",
            s429="The key has too many tokens that are still good",
            s503="The store fails",
        ),
    )
    async def issue_token(request: TokenRequest, principal: Annotated[Principal, Depends(principal_of)]) -> Token:
        """A short-lived token in place of the key: for one WebSocket, or for the file at an address."""
        narrowed = _narrowed(principal, request.scopes)
        issued = await desk.issue(narrowed, path=request.path)
        subprotocol = None if request.path else TOKEN_SUBPROTOCOL + issued.token
        return Token(token=issued.token, expires_at=issued.expires_at, path=request.path, subprotocol=subprotocol)

    return router


def _narrowed(principal: Principal, scopes: frozenset[Scope] | None) -> Principal:
    """Raises SessionError."""
    if scopes is None:
        return principal
    missing = sorted(scope.value for scope in scopes if not principal.may(scope))
    if missing:
        raise SessionError(ErrorCode.SCOPE_MISSING, f"The key has no scope {missing[0]}.")
    return Principal(principal.tenant, principal.key_id, scopes)
