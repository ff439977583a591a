"""The load generator: its report from records, and whole loads against the fake server."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.catalogue import parse_prompts, suggested_prompts
from client.connection import ClientOptions
from client.errors import ConnectFailed, ProtocolViolation
from client.http import Server, base_url
from client.load import LoadOptions, run_load
from client.load_report import Percentiles, SessionRecord, build_load_report, percentiles
from client.report import ChunkArrival, SwitchReport
from service.errors import ErrorCode
from service.protocol.client import SessionStart
from service.protocol.server import SessionQueued
from tests.client.fake_server import FRAMES, Peer, fake_server, whole_take

QUICK = ClientOptions(start_timeout=60.0, message_timeout=60.0, close_timeout=1.0)
PROMPTS = ("a fox", "a boat")


def test_report_of_a_few_sessions() -> None:
    def arrivals(*times: float) -> tuple[ChunkArrival, ...]:
        return tuple(ChunkArrival(time, 0.75 * index, 12) for index, time in enumerate(times))

    records = [
        SessionRecord(0.0, "completed", fps=16.0, arrivals=arrivals(1.0, 2.0, 3.0), missing=1),
        SessionRecord(
            0.5,
            "failed",
            "worker_died",
            fps=16.0,
            arrivals=arrivals(1.0, 1.5),
            duplicated=2,
            switches=(SwitchReport("a", 1.0, 2.0, 3.0, 1), SwitchReport("b", 5.0)),
        ),
        SessionRecord(0.5, "refused", "capacity"),
        SessionRecord(0.5, "refused", "capacity"),
    ]
    report = build_load_report(records)
    assert (report.sessions, report.completed, report.refused) == (4, 1, {"capacity": 2})
    assert (report.failed, report.chunks, report.frames) == ({"worker_died": 1}, 5, 60)
    assert (report.missing, report.duplicated, report.underruns) == (1, 2, 2)
    assert report.fps_total == 24.0
    assert report.fps == Percentiles(2, p50=12.0, p95=24.0, p99=24.0, max=24.0)
    assert report.first_frame_ms == Percentiles(2, p50=500.0, p95=1000.0, p99=1000.0, max=1000.0)
    assert report.chunk_gap_ms == Percentiles(3, p50=1000.0, p95=1000.0, p99=1000.0, max=1000.0)
    assert (report.switches, report.switches_received) == (2, 1)
    assert (report.switch_queued_ms.p50, report.switch_queued_ms.max) == (1.0, 5.0)
    assert report.switch_received_ms == Percentiles(1, p50=3.0, p95=3.0, p99=3.0, max=3.0)
    assert json.loads(report.to_json())["first_frame_ms"]["count"] == 2


def test_what_was_not_measured_is_null() -> None:
    report = json.loads(build_load_report([]).to_json())
    assert report["chunk_gap_ms"] == {"count": 0, "p50": None, "p95": None, "p99": None, "max": None}
    assert (report["sessions"], report["fps_total"]) == (0, 0.0)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60))
def test_percentiles_are_values_that_are_not_exceeded_by_their_share(values: list[int]) -> None:
    found = percentiles([float(value) for value in values])
    for share, value in ((0.50, found.p50), (0.95, found.p95), (0.99, found.p99), (1.0, found.max)):
        assert value in values
        assert sum(one <= value for one in values) >= share * len(values)
        assert sum(one < value for one in values) < share * len(values)


async def test_sessions_run_side_by_side_until_the_time_is_over() -> None:
    async def script(peer: Peer) -> None:
        await whole_take(peer, chunk_seconds=0.02)

    async with fake_server(script) as server:
        options = LoadOptions(3, 0.6, url=server.url, pacing="none", switch_every=0.1, prompts=PROMPTS, client=QUICK)
        report = await run_load(options)
    assert (report.completed, report.refused, report.failed) == (3, {}, {})
    assert report.frames == report.chunks * FRAMES > 0
    assert report.chunk_gap_ms.count == report.chunks - 3
    assert report.switches > 3
    assert report.switch_received_ms.count == report.switches_received > 0
    starts = [peer.received[0] for peer in server.peers]
    assert sorted(start.prompt or "" for start in starts if isinstance(start, SessionStart)) == [
        "a boat",
        "a fox",
        "a fox",
    ]


async def test_refused_failed_and_waiting_sessions_are_counted_each() -> None:
    async def script(peer: Peer) -> None:
        asked = await peer.next()
        assert isinstance(asked, SessionStart)
        if asked.seed == 0:
            await peer.fail(ErrorCode.CAPACITY, retryable=True)
        elif asked.seed == 1:
            await peer.send(SessionQueued(position=1, waiting=1))
            await peer.next()
        else:
            await peer.fail(ErrorCode.MODEL_UNKNOWN, fatal=False)

    async with fake_server(script) as server:
        report = await run_load(LoadOptions(3, 0.3, url=server.url, prompts=PROMPTS, client=QUICK))
    assert (report.completed, report.failed) == (0, {})
    assert report.refused == {"capacity": 1, "model_unknown": 1, "queued": 1}


async def test_session_that_ends_otherwise_has_failed() -> None:
    async def script(peer: Peer) -> None:
        asked = await peer.start()
        await peer.chunk(0)
        if asked.seed == 0:
            await peer.fail(ErrorCode.WORKER_DIED)
        else:
            await asyncio.sleep(0.05)
            await peer.done(1, "drained")

    async with fake_server(script) as server:
        report = await run_load(LoadOptions(2, 5.0, url=server.url, prompts=PROMPTS, client=QUICK))
    assert report.failed == {"drained": 1, "worker_died": 1}
    assert report.chunks == 2


def test_where_the_prompts_are() -> None:
    assert base_url("ws://host:1/a") == "http://host:1/a"
    assert base_url("https://host/v1/realtime/video") == "https://host"
    assert parse_prompts(b'{"data": [{"suggested_prompts": ["a", "b"]}]}') == ("a", "b")


@pytest.mark.parametrize("text", [b"", b"[]", b'{"data": []}', b'{"data": [{"suggested_prompts": []}]}', b"\xff"])
def test_no_prompts(text: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="suggested prompts"):
        parse_prompts(text)


async def test_nobody_to_ask_for_prompts() -> None:
    with pytest.raises(ConnectFailed, match=r"http://127\.0\.0\.1:1"):
        await suggested_prompts(Server("ws://127.0.0.1:1"))
