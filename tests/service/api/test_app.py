"""The app: who gets a WebSocket, what HTTP answers, the page's headers, and that no torch is imported."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from service.errors import ErrorCode
from service.protocol import SUBPROTOCOL
from tests.service.api.running import FAST, PATIENCE, Running, running
from tests.service.fakes import FACTS

ROOT = Path(__file__).parents[3]

OTHERS = ("/v1/sessions", "/v1/tokens", "/v1/pictures", "/v1/videos", "/v1/batches", "/v1/webhooks")
"""Routes that have tests of their own."""


@pytest.fixture
async def service() -> AsyncIterator[Running]:
    async with running() as running_service:
        yield running_service


async def get(service: Running, path: str, method: str = "GET") -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
        return await client.request(method, path)


def test_the_api_process_imports_no_torch() -> None:
    names = "[name for name in ('torch', 'numpy', 'models', 'cache', 'service.worker') if name in sys.modules]"
    code = f"import sys; import service.api.app, service.api.server; print({names})"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


async def refused(service: Running, origin: str | None, subprotocols: Iterable[str] = ()) -> InvalidStatus:
    offered = [Subprotocol(name) for name in subprotocols] or None
    with pytest.raises(InvalidStatus) as caught:
        async with connect(service.url, origin=Origin(origin) if origin else None, subprotocols=offered):
            pass
    return caught.value


async def test_a_page_of_another_origin_is_refused_at_the_handshake(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    for origin in ("https://evil.example", "null", f"http://evil.example:{service.port}"):
        error = await refused(service, origin)
        assert error.response.status_code == 403
        assert error.response.headers["Content-Type"] == "application/problem+json"
        assert json.loads(error.response.body or b"")["code"] == ErrorCode.ORIGIN_FORBIDDEN
    assert len(service.state.connections) == 0
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_the_services_own_page_and_programs_on_this_machine_are_welcome(service: Running) -> None:
    for origin in (Origin(f"http://{service.authority}"), None):
        async with connect(service.url, origin=origin) as socket:
            assert socket.subprotocol is None
        async with connect(service.url, origin=origin, subprotocols=[Subprotocol(SUBPROTOCOL)]) as socket:
            assert socket.subprotocol == SUBPROTOCOL


async def test_another_version_of_the_protocol_is_refused(service: Running) -> None:
    error = await refused(service, None, ["longtake.v9"])
    assert error.response.status_code == 400
    assert json.loads(error.response.body or b"")["code"] == ErrorCode.SUBPROTOCOL_UNSUPPORTED


async def test_there_are_no_more_connections_than_places() -> None:
    async with running(FAST.model_copy(update={"max_connections": 1})) as service:
        async with connect(service.url) as socket:
            await socket.send('{"type": "session.ping"}')
            await socket.recv()
            error = await refused(service, None)
            assert error.response.status_code == 503
            assert json.loads(error.response.body or b"")["retryable"] is True
        async with asyncio.timeout(PATIENCE):
            while len(service.state.connections):
                await asyncio.sleep(0.01)
        async with connect(service.url):
            pass


async def test_no_websocket_is_anywhere_else(service: Running) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://{service.authority}/v1/realtime"):
            pass
    assert caught.value.response.status_code == 403


async def test_ready_follows_the_worker(service: Running) -> None:
    assert (await get(service, "/livez")).json() == {"status": "alive"}
    health = (await get(service, "/readyz")).json()
    assert (health["status"], health["worker"], health["sessions"]) == ("ready", "ready", 0)
    service.client.lose("test")
    for path in ("/readyz", "/healthz"):
        answer = await get(service, path)
        assert answer.status_code == 503
        assert (answer.json()["worker"], answer.json()["reason"]) == ("lost", "test")
    assert (await get(service, "/livez")).status_code == 200
    for path in ("/v1/models", "/v1/server/info"):
        answer = await get(service, path)
        assert (answer.status_code, answer.json()["code"]) == (503, "worker_unavailable")
        assert answer.headers["Retry-After"] == "5"


async def test_ready_wants_a_fresh_heartbeat() -> None:
    config = FAST.model_copy(update={"heartbeat_interval": 30.0, "heartbeat_timeout": 0.3})
    async with running(config) as service, asyncio.timeout(PATIENCE):
        while (await get(service, "/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        service.worker.frozen = True
        while (answer := await get(service, "/readyz")).status_code == 200:
            await asyncio.sleep(0.01)
        assert (answer.status_code, answer.json()["worker"]) == (503, "ready")


async def test_models_and_facts(service: Running) -> None:
    (model,) = (await get(service, "/v1/models")).json()["data"]
    assert (model["id"], model["width"], model["fps"], model["frames_per_block"]) == ("demo", 96, 16, 12)
    assert model["suggested_prompts"] == list(FACTS.suggested_prompts)
    licence = (model["licence"], model["licence_url"], model["commercial_use"], model["licence_accept_required"])
    assert licence == ("Example-NC", "https://example.org/licence", False, True)
    assert model["limits"]["max_prompt_chars"] == 2000
    info = (await get(service, "/v1/server/info")).json()
    assert (info["name"], info["subprotocol"], info["fingerprint"]) == ("longtake", SUBPROTOCOL, "fake")


async def test_errors_are_problems_with_a_code(service: Running) -> None:
    for method, path, code, status in (
        ("GET", "/v1/nothing", ErrorCode.NOT_FOUND, 404),
        ("GET", "/nothing.js", ErrorCode.NOT_FOUND, 404),
        ("GET", "/..%2fapp.py", ErrorCode.NOT_FOUND, 404),
        ("GET", "/%00", ErrorCode.NOT_FOUND, 404),
        ("POST", "/livez", ErrorCode.METHOD_NOT_ALLOWED, 405),
    ):
        answer = await get(service, path, method)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["error"]["message"]


async def test_the_description_of_the_interface_names_its_routes(service: Running) -> None:
    paths = (await get(service, "/openapi.json")).json()["paths"]
    own = {path for path in paths if not path.startswith(OTHERS)}
    assert own == {"/livez", "/readyz", "/healthz", "/metrics", "/v1/models", "/v1/server/info"}
    assert len(paths) > len(own)
    assert (await get(service, "/docs")).headers["Content-Type"].startswith("text/html")
    assert (await get(service, "/asyncapi.json")).json()["asyncapi"] == "3.0.0"


async def test_every_answer_is_one_that_the_description_of_the_interface_has(service: Running) -> None:
    description = (await get(service, "/openapi.json")).json()
    assert "$defs" not in json.dumps(description)
    shapes = description["components"]["schemas"]
    for ready in (True, False):
        for path, operations in description["paths"].items():
            if path.startswith(OTHERS):
                continue  # they have tests of their own
            answer = await get(service, path)
            described = operations["get"]["responses"][str(answer.status_code)]["content"]
            kind = answer.headers["Content-Type"].partition(";")[0]
            assert kind in described, (path, answer.status_code)
            schema = described[kind]["schema"]
            if kind != "text/plain":
                schema = shapes[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
                assert set(schema.get("required", [])) <= set(answer.json()) <= set(schema["properties"]), path
            assert ready or path in ("/livez", "/metrics") or answer.status_code == 503
        service.client.lose("test")
