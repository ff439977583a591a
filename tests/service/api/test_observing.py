"""Requests as those who run the service see them: ids, lines, spans, over real sockets."""

import logging

import httpx2
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.asyncio.client import connect

from service.protocol.client import SessionStart, SessionStop
from service.protocol.server import SessionDone, VideoStart
from service.telemetry.logs import ACCESS
from service.telemetry.otel import OtelTracing
from tests.service.api.running import FAST, PATIENCE, Talk, running

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "a lighthouse that nobody may know of"


async def test_every_answer_has_an_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=ACCESS)
    async with running() as service:
        async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
            own = await client.get("/livez", headers={"X-Request-Id": "mine-1"})
            assert own.headers["X-Request-Id"] == "mine-1"
            for bad in ("a b", "x" * 65, "ä", ""):
                answer = await client.get("/v1/nothing?token=secret", headers=[(b"X-Request-Id", bad.encode())])
                assert len(answer.headers["X-Request-Id"]) == 32
        async with connect(service.url, additional_headers={"X-Request-Id": "mine-2"}) as socket:
            assert socket.response is not None
            assert socket.response.headers["X-Request-Id"] == "mine-2"
    said = [record.getMessage() for record in caplog.records if record.name == ACCESS]
    assert said == ["GET /livez 200", *["GET none 401"] * 4, "WEBSOCKET /v1/realtime/video 101"]
    assert "secret" not in caplog.text


async def test_a_session_is_a_span_under_its_connection_and_the_worker_hears_of_it() -> None:
    kept = InMemorySpanExporter()
    async with running() as service:
        tracing = OtelTracing.with_exporter(kept, share=1.0, process="api", version="1")
        object.__setattr__(service.state.services, "tracing", tracing)
        async with connect(service.url, additional_headers={"traceparent": TRACE}) as socket:
            talk = Talk(socket)
            await talk.say(SessionStart(prompt=SECRET, pacing="none"))
            await talk.hear_until(VideoStart)
            (started,) = service.worker.worker.sessions.values()
            await talk.say(SessionStop())
            await talk.hear_until(SessionDone)
    tracing.close()
    (span,) = [span for span in kept.get_finished_spans() if span.name == "session"]
    assert f"{span.context.trace_id:032x}" == TRACE.split("-")[1]
    assert started is not None
    assert SECRET not in str(span.attributes)


async def test_prompts_are_in_the_log_where_they_are_wanted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for wanted in (False, True):
        caplog.clear()
        async with running(FAST.model_copy(update={"log_prompts": wanted})) as service, service.connection() as talk:
            await talk.say(SessionStart(prompt=SECRET, pacing="none"))
            await talk.hear_until(VideoStart)
            await talk.say(SessionStop())
            await talk.hear_until(SessionDone)
        said = [record for record in caplog.records if record.name.startswith("service")]
        assert any(SECRET in record.getMessage() for record in said) is wanted
