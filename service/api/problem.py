"""Errors over HTTP: problem+json with the same stable codes as on the WebSocket.

It knows nothing of sessions. Invariant: whatever goes wrong in a request, the answer has a code of the
registry and that code's status; a fault's details go to the log and not to the client.
"""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, JsonValue
from starlette.exceptions import HTTPException

from service.errors import ErrorCode, SessionError, facts_of

logger = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemError(BaseModel):
    """The same once more, in the shape that clients of similar services look for."""

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


_CODE_OF_STATUS = {
    400: ErrorCode.JSON_INVALID,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    422: ErrorCode.FIELD_TYPE,
}


def problem_response(code: ErrorCode, detail: str = "", *, retry_after: float | None = None) -> JSONResponse:
    """The answer for a code: RFC 9457 members, and `error` for clients that know the usual SDK shape."""
    facts = facts_of(code)
    detail = detail or facts.description
    body = Problem(
        type="about:blank",
        title=facts.description,
        status=facts.http_status,
        detail=detail,
        code=code.value,
        retryable=facts.retryable,
        error=ProblemError(message=detail, type=code.value, param=None, code=code.value),
    )
    headers = {} if retry_after is None else {"Retry-After": f"{max(1, round(retry_after))}"}
    return JSONResponse(
        body.model_dump(), status_code=facts.http_status, headers=headers, media_type=PROBLEM_MEDIA_TYPE
    )


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
        return problem_response(ErrorCode.FIELD_TYPE, str(error))

    async def from_session(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, SessionError)
        wait = retry_after if facts_of(error.code).retryable else None
        return problem_response(error.code, error.message, retry_after=wait)

    async def from_fault(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_response(ErrorCode.INTERNAL_ERROR)

    app.add_exception_handler(HTTPException, from_http)
    app.add_exception_handler(RequestValidationError, from_validation)
    app.add_exception_handler(SessionError, from_session)
    app.add_exception_handler(Exception, from_fault)
