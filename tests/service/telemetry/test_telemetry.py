"""Ids, logs and traces: a line is one line, ids go along, and a trace tells what it is given."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.errors import ConfigError
from service.telemetry.ids import bind, bound, trace_id_of, unbind
from service.telemetry.logs import ACCESS, configure_logs
from service.telemetry.otel import OtelTracing
from service.telemetry.tracing import Untraced, tracing_to

ROOT = Path(__file__).parents[3]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(name="stream")
def _stream() -> Iterator[io.StringIO]:
    """Afterwards the log is as it was."""
    root, before = logging.getLogger(), logging.getLogger().level
    stream = io.StringIO()
    yield stream
    for handler in root.handlers[:]:
        if getattr(handler, "stream", None) is stream:
            root.removeHandler(handler)
    root.setLevel(before)
    for name in ("uvicorn", ACCESS):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json_has_what_was_said_and_the_ids(stream: io.StringIO) -> None:
    configure_logs("json", process="api", stream=stream)
    token = bind(request_id="r1", session="s1", key=None, traceparent=TRACE)
    logging.getLogger("service.x").info("a %s\nof two", "message", extra={"fields": {"frames": 12}})
    unbind(token)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("service.x").exception("it failed")
    logging.getLogger("service.x").debug("not worth a line")
    first, second = lines(stream)
    time = first.pop("time")
    assert isinstance(time, str)
    assert time.endswith("+00:00")
    assert first == {
        "level": "info",
        "process": "api",
        "logger": "service.x",
        "message": "a message\nof two",
        "request_id": "r1",
        "session": "s1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "frames": 12,
    }
    assert "ValueError: broken" in str(second["exception"])
    assert "request_id" not in second


def test_lines_for_people_leave_out_requests(stream: io.StringIO) -> None:
    configure_logs("json", process="api", stream=io.StringIO())
    configure_logs("text", level="warning", process="api", stream=stream)
    logging.getLogger(ACCESS).info("GET / 200")
    logging.getLogger("service.x").warning("a word")
    assert stream.getvalue().splitlines()[0].endswith("api service.x WARNING a word")
    assert len(stream.getvalue().splitlines()) == 1


async def test_ids_go_to_tasks_that_are_begun_and_to_no_others() -> None:
    async def inner(name: str) -> dict[str, str]:
        bind(inner=name)
        await asyncio.sleep(0)
        return dict(bound())

    token = bind(request_id="r1")
    found = await asyncio.gather(*(asyncio.create_task(inner(name)) for name in "ab"))
    assert found == [{"request_id": "r1", "inner": "a"}, {"request_id": "r1", "inner": "b"}]
    assert dict(bound()) == {"request_id": "r1"}
    unbind(token)
    assert dict(bound()) == {}


@pytest.mark.parametrize("text", ["", "00-1", "nonsense", TRACE.replace("-", "_")])
def test_what_is_no_context_has_no_trace(text: str) -> None:
    assert trace_id_of(text) == ""


def test_spans_have_their_parents_times_and_faults() -> None:
    kept = InMemorySpanExporter()
    tracing = OtelTracing.with_exporter(kept, share=1.0, process="api", version="1")
    span = tracing.begin("GET", parent=TRACE, kind="server", attributes={"a": 1})
    child = tracing.tell("chunk", parent=span.traceparent, began=100.0, ended=100.5, attributes={})
    assert trace_id_of(child) == trace_id_of(TRACE)
    span.set({"b": "c"})
    span.end(failed="500")
    tracing.close()
    found = {item.name: item for item in kept.get_finished_spans()}
    assert found["GET"].attributes == {"a": 1, "b": "c"}
    assert found["GET"].parent is not None
    assert f"{found['GET'].parent.span_id:016x}" == TRACE.split("-")[2]
    assert not found["GET"].status.is_ok
    assert found["chunk"].parent is not None
    assert found["chunk"].parent.span_id == found["GET"].context.span_id
    assert (found["chunk"].start_time, found["chunk"].end_time) == (100_000_000_000, 100_500_000_000)


def test_a_share_of_none_keeps_none_but_what_a_caller_decided() -> None:
    kept = InMemorySpanExporter()
    tracing = OtelTracing.with_exporter(kept, share=0.0, process="api", version="1")
    tracing.begin("own", attributes={}).end()
    tracing.begin("asked for", parent=TRACE, attributes={}).end()
    tracing.close()
    assert [span.name for span in kept.get_finished_spans()] == ["asked for"]


def test_without_an_endpoint_nothing_is_kept_and_nothing_imported() -> None:
    tracing = tracing_to(None, process="api")
    assert isinstance(tracing, Untraced)
    span = tracing.begin("GET", parent=TRACE, attributes={})
    span.set({"a": 1})
    span.end()
    assert span.traceparent == ""
    assert tracing.tell("chunk", parent=TRACE, began=0, ended=1, attributes={}) == TRACE
    ours = "[name for name in sys.modules if 'telemetry.otel' in name or 'opentelemetry.exporter' in name]"
    code = f"import sys, service.api.app, service.worker.tracing; print({ours})"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_where_the_extra_is_missing_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "service.telemetry.otel", None)
    with pytest.raises(ConfigError, match=r"pip install longtake\[telemetry\]"):
        tracing_to("http://127.0.0.1:4318", process="api")
