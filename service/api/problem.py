"""Errors over HTTP: problem+json with the same stable codes as on the WebSocket.

It knows nothing of sessions. Invariant: whatever goes wrong in a request, the answer has a code of the
registry and that code's status, and says when to ask again where that may help; a fault's details go to the log and not
to the client.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, JsonValue
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from service.errors import ErrorCode, ProtocolError, SessionError, facts_of
from service.protocol.parse import first_fault

logger = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemError(BaseModel):
    """The same once more, in the shape that clients of similar services look for: `type` is the kind of fault."""

    message: str
    type: str
    param: str | None
    code: str


class Problem(BaseModel):
    """What every error looks like over HTTP."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    error: ProblemError


def problem_schema() -> dict[str, JsonValue]:
    """The shape of Problem, whole in itself: in an OpenAPI document a reference would lead elsewhere."""
    schema: dict[str, JsonValue] = Problem.model_json_schema()
    inner, properties = schema.pop("$defs"), schema["properties"]
    assert isinstance(inner, dict)
    assert isinstance(properties, dict)
    properties["error"] = inner[ProblemError.__name__]
    return schema


def problem_answers(**statuses: str) -> dict[int | str, dict[str, Any]]:
    """What a route can answer besides its success, for `responses`: `problem_answers(s404="There is no such ...")`."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": problem_schema()}}
    return {int(status[1:]): {"description": why, "content": content} for status, why in statuses.items()}


_CODE_OF_STATUS = {
    400: ErrorCode.JSON_INVALID,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.BODY_TOO_LARGE,
    422: ErrorCode.FIELD_TYPE,
}
_KIND_OF_STATUS: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_WAITING_HELPS = (429, 503, 507)


def problem_response(
    code: ErrorCode, detail: str = "", *, field: str = "", retry_after: float | None = None
) -> JSONResponse:
    """The answer for a code: RFC 9457 members, and `error` for clients that know the usual SDK shape.

    Args:
        field: what of the request is wrong, as far as it is one thing.
    """
    facts = facts_of(code)
    detail = detail or facts.description
    kind = "server_error" if facts.http_status >= 500 else "invalid_request_error"
    body = Problem(
        type="about:blank",
        title=facts.description,
        status=facts.http_status,
        detail=detail,
        code=code.value,
        retryable=facts.retryable,
        error=ProblemError(
            message=detail, type=_KIND_OF_STATUS.get(facts.http_status, kind), param=field or None, code=code.value
        ),
    )
    headers = {} if retry_after is None else {"Retry-After": f"{max(1, math.ceil(retry_after))}"}
    if facts.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        body.model_dump(), status_code=facts.http_status, headers=headers, media_type=PROBLEM_MEDIA_TYPE
    )


def problem_of(error: ProtocolError | SessionError, *, retry_after: float) -> JSONResponse:
    """The answer for an error. `retry_after` is said where asking again may help, unless the error says another."""
    facts = facts_of(error.code)
    wait: float | None = getattr(error, "retry_after", None)
    if wait is None and (facts.retryable or facts.http_status in _WAITING_HELPS):
        wait = retry_after
    return problem_response(error.code, error.message, field=getattr(error, "field", ""), retry_after=wait)


def add_problem_handlers(app: FastAPI, *, retry_after: float = 5.0) -> None:
    """Makes every error that a route raises, or that routing finds, a problem.

    Args:
        retry_after: what a client is told to wait where asking again may help.
    """

    async def from_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        response = problem_response(_CODE_OF_STATUS.get(error.status_code, ErrorCode.INTERNAL_ERROR))
        response.headers.update(error.headers or {})
        return response

    async def from_validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return problem_of(_refusal(error), retry_after=retry_after)

    async def from_refusal(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ProtocolError | SessionError)
        return problem_of(error, retry_after=retry_after)

    async def from_fault(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_response(ErrorCode.INTERNAL_ERROR)

    app.add_exception_handler(HTTPException, from_http)
    app.add_exception_handler(RequestValidationError, from_validation)
    app.add_exception_handler(SessionError, from_refusal)
    app.add_exception_handler(ProtocolError, from_refusal)
    app.add_exception_handler(Exception, from_fault)


def _refusal(error: RequestValidationError) -> ProtocolError:
    """The first fault of a request, in the words of the WebSocket: the same codes, the same names of fields."""
    details = [cast("ErrorDetails", {**detail, "loc": _place(detail["loc"])}) for detail in error.errors()]
    if any(detail["type"] == "json_invalid" for detail in details):
        return ProtocolError(ErrorCode.JSON_INVALID, "The body is not JSON.")
    return first_fault(details)


def _place(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Without where in the request it is, unless that is all."""
    return location[1:] or location
