"""Metrics: what a session leaves in them, labels that are bounded, and nothing of what users said."""

import asyncio
import re
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from service.api.metrics import Metrics
from service.errors import ErrorCode
from service.protocol.client import SessionInteraction, SessionStart, SessionStop
from service.protocol.server import ChunkMetadata, InteractionApplied, MediaInit, SessionDone
from tests.service.api.running import PATIENCE, Running, running

CANARY = "canary lighthouse"
README = Path(__file__).parents[3] / "service" / "README.md"


async def samples(service: Running) -> tuple[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]:
    async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
        text = (await client.get("/metrics")).text
    values = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return text, values


async def test_a_session_is_counted_from_start_to_end() -> None:
    async with running() as service, service.connection() as talk:
        await talk.say(SessionStart(prompt=CANARY, pacing="none"))
        await talk.hear_until(MediaInit)
        await talk.say(SessionInteraction(event_id="canary-event", prompt=CANARY))
        await talk.hear_until(InteractionApplied)
        await talk.hear_until(ChunkMetadata)
        _, during = await samples(service)
        assert during["longtake_sessions_active", ()] == 1
        await talk.say(SessionStop())
        done = (await talk.hear_until(SessionDone))[-1].message
        assert isinstance(done, SessionDone)
        await talk.closed()
        text, after = await samples(service)
    assert after["longtake_sessions_active", ()] == 0
    (computing,) = (dict(labels) for name, labels in after if name == "longtake_engine_info")
    assert set(computing) == {"model", "device", "dtype", "attention", "numerics"}
    assert all(computing.values())
    assert after["longtake_session_end_total", (("reason", "stopped"),)] == 1
    for name in ("admission_wait_seconds", "ttff_seconds", "session_duration_seconds", "prompt_switch_latency_seconds"):
        assert after[f"longtake_{name}_count", ()] == 1
    assert after["longtake_frames_sent_total", ()] == after["longtake_frames_generated_total", ()] == done.frames
    assert after["longtake_bytes_sent_total", ()] == done.chunks * 1200
    assert after["longtake_chunk_gap_seconds_count", ()] == done.chunks - 1
    assert after["longtake_chunk_generation_seconds_count", (("stage", "denoise"),)] == done.chunks
    assert "canary" not in text


async def test_a_client_that_leaves_and_an_error_that_was_told_are_counted() -> None:
    async with running() as service:
        async with service.connection() as talk:
            await talk.say("nonsense")
            await talk.error()
            await talk.say(SessionStart(prompt="a", pacing="none"))
            await talk.hear_until(MediaInit)
        while service.client.sessions or len(service.state.connections):
            await asyncio.sleep(0.005)
        _, values = await samples(service)
    assert values["longtake_errors_total", (("code", "json_invalid"),)] == 1
    assert values["longtake_session_end_total", (("reason", "client_gone"),)] == 1
    assert values["longtake_ready", ()] == 1


async def test_requests_are_counted_by_route_and_not_by_what_was_asked() -> None:
    async with running() as service:
        async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
            for number in range(5):
                await client.get(f"/v1/nothing/{number}")
                await client.get(f"/file{number}.js")
            await client.request("PROPFIND", "/livez")
        _, values = await samples(service)
    counted = {labels: value for (name, labels), value in values.items() if name == "longtake_http_requests_total"}
    routes = {dict(labels)["route"] for labels in counted}
    assert routes <= {"none", "/{name}", "/livez", "/metrics"}
    assert sum(counted.values()) == 11
    assert {dict(labels)["method"] for labels in counted} == {"GET", "other"}


def test_two_sets_of_metrics_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.errors.labels(ErrorCode.CAPACITY).inc()
    assert b'longtake_errors_total{code="capacity"} 1.0' in one.render()
    assert b"capacity" not in other.render()


async def told_of_device_memory(service: Running, held: int | None) -> None:
    """Wait for a beat that says it."""
    service.worker.worker.device_memory_bytes = held
    async with asyncio.timeout(PATIENCE):
        while service.client.heartbeat is None or service.client.heartbeat.device_memory_bytes != held:
            await asyncio.sleep(0.005)


async def test_memory_of_the_device_is_shown_where_it_is_known() -> None:
    name = ("longtake_gpu_memory_bytes", ())
    async with running() as service:
        await told_of_device_memory(service, None)
        _, values = await samples(service)
        assert name not in values
        await told_of_device_memory(service, 2**33)
        _, values = await samples(service)
        assert values[name] == 2**33


async def test_every_metric_is_documented() -> None:
    described = README.read_text("utf-8").partition("### Metrics")[2].partition("\n## ")[0]
    async with running() as service:
        await told_of_device_memory(service, 7)
        _, values = await samples(service)
    names = {name.removeprefix("longtake_") for name, _ in values}
    plain = {re.sub("_(bucket|count|sum|created|total)$", "", name) for name in names}
    assert [name for name in sorted(plain) if f"`{name}" not in described] == []
