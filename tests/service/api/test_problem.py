"""Errors over HTTP: every code becomes a problem with its status; a fault's details stay inside."""

import json

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.problem import add_problem_handlers, problem_response
from service.errors import REGISTRY, ErrorCode


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_is_a_problem(code: ErrorCode) -> None:
    response = problem_response(code)
    body = json.loads(bytes(response.body))
    assert response.status_code == body["status"] == REGISTRY[code].http_status
    assert response.media_type == "application/problem+json"
    assert (body["code"], body["error"]["code"], body["title"]) == (code, code, REGISTRY[code].description)


def test_seconds_to_wait_are_whole_and_not_none() -> None:
    assert problem_response(ErrorCode.CAPACITY, retry_after=0.2).headers["Retry-After"] == "1"
    assert "Retry-After" not in problem_response(ErrorCode.CAPACITY).headers


def test_a_fault_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()
    add_problem_handlers(app)

    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("a secret")

    @app.get("/number")
    async def number(value: int) -> int:
        return value

    client = TestClient(app, raise_server_exceptions=False)
    answer = client.get("/fault")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "a secret" in caplog.text
    answer = client.get("/number?value=x")
    assert (answer.status_code, answer.json()["code"]) == (422, "field_type")
