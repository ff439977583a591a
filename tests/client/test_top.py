"""Looks at a server: what it says is shown, what it hides is left out, and counts become rates."""

import json
from http.server import BaseHTTPRequestHandler

import pytest

from client.errors import ConnectFailed, ProtocolViolation
from client.http import Server
from client.top import lines_of, look, parse_metrics
from tests.client.serving import answering
from tests.service.api.running import running

METRICS = """# HELP longtake_chunks_total made
longtake_chunks_total{format="jpeg"} 3.0
longtake_chunks_total{format="raw"} 4.0
longtake_block_seconds_bucket{le="0.1"} 9
longtake_block_seconds_count 5
longtake_lead NaN
python_info{version="3"} 1.0
no sample
"""


def test_metrics_are_summed_over_labels() -> None:
    assert parse_metrics(METRICS) == {"chunks_total": 7.0, "block_seconds_count": 5.0}


async def test_a_real_service_is_shown_with_its_sessions() -> None:
    from client.library import Client

    async with running() as service:
        client = Client(service.url)
        async with client.session("a red ball", pacing="none") as take:
            async for _ in take.chunks():
                break
            before = await look(client.server, now=1e10)
            now = await look(client.server, now=1e10 + 2)
        assert [session.id for session in now.sessions] == [take.id]
        assert now.metrics
        lines = lines_of(now, before)
        assert any(line.startswith(take.id[:36]) for line in lines)
        assert json.loads(now.to_json())["info"]["preset"] == now.info["preset"]


async def test_what_is_hidden_is_left_out() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        info = request.path == "/v1/server/info"
        body = b'{"preset": "demo"}' if info else b'{"code": "scope_missing", "detail": "no"}'
        request.send_response(200 if info else 403)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(answer) as url:
        seen = await look(Server(url), now=1.0)
    assert (seen.sessions, seen.metrics) == ((), {})
    assert "no session is live" in lines_of(seen)


async def test_no_server_and_no_facts_are_told() -> None:
    with pytest.raises(ConnectFailed):
        await look(Server("http://127.0.0.1:1"), now=1.0)

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"[]")

    with answering(answer) as url, pytest.raises(ProtocolViolation, match="facts"):
        await look(Server(url), now=1.0)
