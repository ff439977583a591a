"""Every error code of the service, each by a client's way to it: one function, run over a real server.

It knows nothing of the engine: the fake worker refuses with whatever code a prompt asks for. Invariant: what is
returned was read from a socket; nothing is counted because it ought to come.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from service import ipc
from service.config import ServiceConfig
from service.errors import ErrorCode
from service.protocol.client import (
    SessionControl,
    SessionDirect,
    SessionFork,
    SessionInteraction,
    SessionJoin,
    SessionPing,
    SessionResume,
    SessionStart,
    SessionStop,
)
from service.protocol.server import ChunkMetadata, InteractionRejected, MediaInit, SessionDone, VideoStart
from service.store.records import SessionRecord
from tests.service.api.running import FAST, PATIENCE, PATIENT, Running, Talk, running
from tests.service.bad_messages import BAD_MESSAGES
from tests.service.fakes import REFUSED_WORD

START = SessionStart(prompt="a lighthouse", pacing="none")
ENGINE_CODES = (
    "prompts_invalid",
    "prompt_invalid",
    "model_unavailable",
    "model_files_invalid",
    "config_invalid",
    "seed_invalid",
    "mode_invalid",
    "sink_invalid",
    "transition_invalid",
    "position_limit",
    "restore_mismatch",
    "engine_error",
    "adapters_unknown",
    "adapters_unavailable",
    "opening_unsupported",
    "clip_invalid",
)
FATAL_ENGINE_CODES = ("out_of_memory", "guard_not_finite", "guard_black", "guard_saturated", "guard_frozen")


async def all_codes() -> set[str]:
    """Codes that were heard."""
    heard: set[str] = set()
    for part in (_refusals, _orders, _http, _rest, _time, _limits, _coming_back, _directing, _ends):
        heard |= await part()
    return heard


@asynccontextmanager
async def _session(config: ServiceConfig = FAST, *, frame_bytes: int = 100) -> AsyncIterator[tuple[Running, Talk]]:
    async with running(config, frame_bytes=frame_bytes) as service, service.connection() as talk:
        await talk.say(START)
        await talk.hear_until(MediaInit)
        yield service, talk


def _with(**settings: object) -> ServiceConfig:
    return FAST.model_copy(update=settings)


async def _refusals() -> set[str]:
    """What the parser and the engine refuse, before a session and in one."""
    heard: set[str] = set()
    async with running() as service, service.connection() as talk:
        starts = [SessionStart(prompt=f"{REFUSED_WORD} {code}") for code in ENGINE_CODES]
        others = [START.model_copy(update=fields) for fields in ({"model": "x"}, {"width": 97}, {"max_seconds": 1e6})]
        for message in [bad.text for bad in BAD_MESSAGES] + [b""] + starts + others:
            await talk.say(message)
            heard.add((await talk.error()).code)
        await talk.say(START.model_copy(update={"picture_id": "none"}))
        heard.add((await talk.error()).code)
        for code in FATAL_ENGINE_CODES:
            async with service.connection() as other:
                await other.say(SessionStart(prompt=f"{REFUSED_WORD} {code}"))
                heard.add((await other.error()).code)
        await talk.say(START)
        for code in ENGINE_CODES:
            await talk.say(SessionInteraction(event_id=code, prompt=f"{REFUSED_WORD} {code}"))
            rejected = (await talk.hear_until(InteractionRejected))[-1].message
            assert isinstance(rejected, InteractionRejected)
            assert rejected.code == code
    return heard


async def _orders() -> set[str]:
    """Messages at the wrong time."""
    heard: set[str] = set()
    async with running() as service, service.connection() as talk:
        await talk.say(SessionControl(action="pause"))
        heard.add((await talk.error()).code)
        for message in (START, START):
            await talk.say(message)
        heard.add((await talk.error()).code)
        for prompt in ("a", "b"):
            await talk.say(SessionInteraction(event_id="e", prompt=prompt))
        heard.add((await talk.error()).code)
        service.worker.frozen = True
        for index in range(FAST.interaction_queue + 1):
            await talk.say(SessionInteraction(event_id=f"waiting {index}", prompt="a"))
        heard.add((await talk.error()).code)
        for _ in range(2):
            await talk.say(SessionStop())
        # The first interaction may have been waiting still, and then two of the others found no room.
        while ErrorCode.SESSION_STOPPING not in heard:
            heard.add((await talk.error()).code)
        service.worker.frozen = False
    return heard


async def _http() -> set[str]:
    heard: set[str] = set()
    async with running() as service:
        async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
            for method, path in (("GET", "/v1/nothing"), ("POST", "/livez")):
                heard.add((await client.request(method, path)).json()["code"])
        for origin, subprotocol in (("https://evil.example", "longtake.v1"), (None, "longtake.v9")):
            try:
                async with connect(
                    service.url,
                    origin=Origin(origin) if origin else None,
                    subprotocols=[Subprotocol(subprotocol)],
                ):
                    raise AssertionError("expected a refusal")
            except InvalidStatus as error:
                heard.add(json.loads(error.response.body or b"")["code"])
    return heard


async def _rest() -> set[str]:
    """What the routes of sessions and pictures refuse."""
    heard: set[str] = set()
    async with _session(_with(recording_timeout=0.001, max_picture_bytes=1024)) as (service, talk):
        (name,) = service.worker.worker.sessions
        await talk.hear_until(ChunkMetadata)
        record = SessionRecord(
            id="odd",
            model="demo",
            width=96,
            height=96,
            fps=16.0,
            seed=1,
            fingerprint="",
            options="{}",
            created_at=0.0,
            family="odd",
        )
        await service.store.open_session(record)
        await service.store.end_session("odd", "stopped")
        async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
            for method, path, content in (
                ("DELETE", f"/v1/sessions/{name}", b""),
                ("GET", "/v1/sessions?after=x", b""),
                ("GET", "/v1/sessions/none", b""),
                ("GET", f"/v1/sessions/{name}/recording", b""),
                ("POST", "/v1/pictures", b""),
                ("POST", "/v1/pictures", bytes(2048)),
            ):
                answer = await client.request(method, path, content=content)
                heard.add(answer.json()["code"])
            token = (await client.post("/v1/sessions/odd/resume")).json()["resume_token"]
        async with service.connection() as other:
            await other.say(SessionResume(session_id="odd", resume_token=token))
            heard.add((await other.error()).code)
    return heard


async def _coming_back() -> set[str]:
    """Resumed and joined sessions."""
    heard: set[str] = set()
    async with running(PATIENT) as service, service.connection() as talk, service.connection() as other:
        await talk.say(START)
        start = (await talk.hear_until(VideoStart))[-1].message
        assert isinstance(start, VideoStart)
        for first in (
            SessionResume(session_id=start.session_id, resume_token="x"),
            SessionJoin(session_id="none"),
            SessionJoin(session_id=start.session_id, format="png"),
        ):
            await other.say(first)
            heard.add((await other.error()).code)
        await other.say(SessionResume(session_id=start.session_id, resume_token=start.resume_token or ""))
        heard.add((await talk.error()).code)
        await other.say(SessionStop())
        await other.hear_until(SessionDone)
        async with service.connection() as late:
            await late.say(SessionResume(session_id=start.session_id, resume_token="x"))
            heard.add((await late.error()).code)
    return heard


async def _directing() -> set[str]:
    """Who may not direct, and places that there are not."""
    heard: set[str] = set()
    async with _session() as (service, talk), service.connection() as viewer:
        (name,) = service.worker.worker.sessions
        await viewer.say(SessionJoin(session_id=name))
        for message in (SessionControl(action="pause"), SessionDirect(action="take")):
            await viewer.say(message)
            heard.add((await viewer.error()).code)
        await talk.hear_until(ChunkMetadata)
        for place in (SessionControl(action="rewind", sequence=10**6), SessionFork()):
            await talk.say(place)
            heard.add((await talk.error()).code)
    return heard


async def _time() -> set[str]:
    """Deadlines of the client and of the worker."""
    heard: set[str] = set()
    async with running(_with(start_timeout=0.05)) as service, service.connection() as talk:
        heard.add((await talk.error()).code)
    async with _session(_with(idle_timeout=0.1)) as (service, talk):
        service.worker.streaming = False
        heard.add((await talk.error()).code)
    async with running(_with(lease_seconds=0.1)) as service, service.connection() as talk:
        service.worker.streaming = False  # no chunk that could be taken, and so no sign of life
        await talk.say(START)
        heard.add((await talk.error()).code)
    async with _session(_with(answer_timeout=0.1)) as (service, talk):
        service.worker.worker.deaf_to_stop = True
        await talk.say(SessionStop())
        heard.add((await talk.error()).code)
    slow = _with(slow_consumer_timeout=0.1)
    async with running(slow, frame_bytes=200_000) as service, service.connection() as talk:
        await talk.say(START.model_copy(update={"slow_consumer": "disconnect"}))
        await asyncio.sleep(0.5)
        heard.add((await talk.error()).code)
    return heard


async def _limits() -> set[str]:
    heard: set[str] = set()
    async with _session(_with(max_sessions=1)) as (service, _), service.connection() as other:
        await other.say(START)
        heard.add((await other.error()).code)
    async with running(_with(message_rate=0.001, message_burst=1)) as service, service.connection() as talk:
        for _ in range(2):
            await talk.say(SessionPing())
        heard.add((await talk.error()).code)
    return heard


async def _ends() -> set[str]:
    """Faults of the service's own side, and its end."""
    heard: set[str] = set()
    async with _session() as (service, talk):
        (name,) = service.worker.worker.sessions
        service.worker.link.emit(service.worker.worker.chunk(name, 10**6))
        heard.add((await talk.error()).code)
    async with _session() as (service, talk), service.connection() as late:
        await talk.hear_until(ChunkMetadata)
        service.worker.link.emit(ipc.Dead(code="internal_error", message="out of memory"))
        heard.add((await talk.error()).code)
        await late.say(START)
        heard.add((await late.error()).code)
    async with _session() as (service, talk):
        service.store.close()
        heard.add((await talk.error()).code)
    async with running() as service, service.connection() as talk:
        await talk.say(SessionPing())
        await talk.hear()
        service.server.should_exit = True
        heard.add((await talk.error()).code)
    return heard
