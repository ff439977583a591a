"""What the service says of itself over HTTP: alive, ready, healthy; its models, limits and metrics.

It knows nothing of the WebSocket's sessions beyond their number. Invariants: `/readyz` is 200 only while a
session would be started: worker loaded and warm, heartbeat fresh, not draining; every status that a route can
answer with is in `/openapi.json`, with the shape of its body.
"""

import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from service.api.connections import Connections
from service.api.hubs import Hubs
from service.api.metrics import CONTENT_TYPE, Readings
from service.api.problem import PROBLEM_MEDIA_TYPE, problem_response, problem_schema
from service.api.services import Services
from service.api.sockets import Sockets
from service.api.translate import session_limits
from service.api.worker_client import WorkerState
from service.errors import ErrorCode
from service.protocol import SUBPROTOCOL
from service.protocol.server import SessionLimits


class ApiState:
    """What the routes share: the sessions, the open connections, and the parts that `services` has."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.config = services.config
        self.worker = services.worker
        self.hubs = Hubs(services)
        self.connections = Connections(services.config.max_connections)
        refused = services.metrics.sockets_refused
        self.sockets = Sockets(services.config, on_refused=lambda code: refused.labels(code.value).inc())
        self.started_at = time.monotonic()
        self.job_counts: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Jobs that wait, and that are being made here."""
        readings = Readings(
            self._gauges,
            lambda: {str(kind): count for kind, count in self.worker.losses.items()},
            build={"version": installed_version()},
            engine=self._engine_labels,
        )
        services.metrics.registry.register(readings)

    async def drain(self) -> None:
        """Ends every session and connection in order; bounded by the drain and close timeouts."""
        await self.worker.begin_drain()
        if self.config.hands_over:
            await self.hubs.let_go(self.config.drain_timeout)
        await self.worker.drain()
        await self.hubs.settle(self.config.close_timeout)
        await self.connections.end_all(self.config.close_timeout)

    def _engine_labels(self) -> dict[str, str]:
        facts = self.worker.facts
        if facts is None:
            return {}
        named = {"model": facts.preset, "device": facts.device, "dtype": facts.dtype, "attention": facts.attention}
        return named | {"numerics": facts.fingerprint}

    def _gauges(self) -> dict[str, tuple[str, float]]:
        worker, facts = self.worker, self.worker.facts
        beat = worker.heartbeat
        memory = beat.memory_bytes if beat else 0
        on_device = beat.device_memory_bytes if beat else None
        cache = facts.cache_bytes_per_stream * worker.sessions if facts else 0
        waiting = self.connections.waiting()
        queued, running = self.job_counts()
        gauges: dict[str, tuple[str, float]] = {
            "ready": ("1 while a session would be started.", float(worker.ready)),
            "sessions_active": ("Places taken.", worker.sessions),
            "sessions_waiting": ("Sessions that wait for a place.", worker.waiting),
            "places": ("Sessions at once.", worker.places),
            "viewers": ("Connections that watch a session.", self.hubs.viewers),
            "connections_open": ("WebSocket connections.", len(self.connections)),
            "sockets_open": ("TCP connections, WebSockets included.", len(self.sockets)),
            "send_queue_frames": ("Frames that wait for clients.", waiting.frames),
            "send_queue_bytes": ("Bytes of media that wait for clients.", waiting.bytes),
            "replay_bytes": ("Bytes of media kept to be sent again.", self.hubs.replay_bytes),
            "worker_heartbeat_age_seconds": ("Since the worker last said anything.", worker.heartbeat_age()),
            "worker_memory_bytes": ("Memory of the worker's process.", memory),
            "kv_cache_bytes": ("Caches of the sessions.", cache),
            "jobs_queued": ("Batch jobs that wait.", queued),
            "jobs_running": ("Batch jobs that this server is making.", running),
            "gpu_fenced": ("GPUs that reported a fault that a restart does not mend.", worker.fenced_gpus),
        }
        if on_device is not None:
            gauges["gpu_memory_bytes"] = ("Memory that the worker's tensors hold on its device.", on_device)
        return gauges


class Alive(BaseModel):
    status: str = "alive"


class Health(BaseModel):
    """`status` is what `/readyz` answers by; `worker` says why."""

    status: str
    worker: str
    reason: str | None = None
    heartbeat_age_s: float | None = None
    sessions: int
    waiting: int
    max_sessions: int
    connections: int
    uptime_s: float


class Model(BaseModel):
    """One model that sessions can ask for. `block_frames` counts latent frames, the others pixel frames."""

    id: str
    object: str = "model"
    title: str
    licence: str
    licence_url: str
    commercial_use: bool
    licence_accept_required: bool
    width: int
    height: int
    fps: float
    block_frames: int
    frames_per_block: int
    first_block_frames: int
    prompt_characters: int
    suggested_prompts: tuple[str, ...]
    adapters: tuple[str, ...]
    limits: SessionLimits


class ModelList(BaseModel):
    object: str = "list"
    data: list[Model]


class MemoryPlan(BaseModel):
    """Bytes. `max_streams` streams of `stream_bytes` fit beside model and workspace into the budget.

    The model is transformer (`weights_bytes`), text encoder and codec.
    """

    budget_bytes: int
    weights_bytes: int
    text_encoder_bytes: int
    codec_bytes: int
    workspace_bytes: int
    cache_bytes: int
    text_bytes: int
    decoder_bytes: int
    history_bytes: int
    stream_bytes: int
    host_budget_bytes: int
    snapshot_bytes: int


class ServerInfo(BaseModel):
    """Facts for a bug report or a benchmark. Bytes, milliseconds and seconds as the names say."""

    name: str = "longtake"
    version: str
    subprotocol: str = SUBPROTOCOL
    preset: str
    fingerprint: str
    device: str
    dtype: str
    attention: str
    parameters: int
    cache_bytes_per_stream: int
    max_streams: int
    max_sessions: int
    plan: MemoryPlan
    threads: int
    warmup_ms: float
    block_ms: float
    replay_max_bytes: int
    """Media that one session keeps to send again; with `max_sessions` that is this process's part of the memory."""
    replay_bytes: int
    """What all sessions keep now."""
    limits: SessionLimits


def installed_version() -> str:
    try:
        return metadata.version("longtake")
    except metadata.PackageNotFoundError:
        return "unknown"


_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "No session would be started"}}
_UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {
        "description": "The engine is not ready",
        "content": {PROBLEM_MEDIA_TYPE: {"schema": problem_schema()}},
        "headers": {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}},
    }
}
_METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def http_routes(state: ApiState) -> APIRouter:
    router = APIRouter(tags=["service"])

    @router.get("/livez")
    async def livez() -> Alive:
        """This process runs."""
        return Alive()

    @router.get("/readyz", response_model=Health, responses=_NOT_READY)
    async def readyz() -> Response:
        """200 while a session would be started, else 503."""
        return _health(state)

    @router.get("/healthz", response_model=Health, responses=_NOT_READY)
    async def healthz() -> Response:
        """The same under the name that older probes use."""
        return _health(state)

    @router.get("/metrics", response_class=Response, responses=_METRICS)
    async def metrics() -> Response:
        """Counters, times and gauges for Prometheus."""
        return Response(state.services.metrics.render(), media_type=CONTENT_TYPE)

    @router.get("/v1/models", response_model=ModelList, responses=_UNAVAILABLE)
    async def models() -> Response:
        """The models that are loaded."""
        return _models(state)

    @router.get("/v1/server/info", response_model=ServerInfo, responses=_UNAVAILABLE)
    async def info() -> Response:
        """The engine as it runs here."""
        return _info(state)

    return router


def _models(state: ApiState) -> Response:
    facts = state.worker.facts
    if facts is None:
        return problem_response(ErrorCode.WORKER_UNAVAILABLE, retry_after=state.config.retry_after)
    model = Model(
        id=facts.preset,
        title=facts.title,
        licence=facts.licence,
        licence_url=facts.licence_url,
        commercial_use=facts.commercial_use,
        licence_accept_required=facts.licence_accept_required,
        width=facts.width,
        height=facts.height,
        fps=facts.fps,
        block_frames=facts.block_frames,
        frames_per_block=facts.frames_per_block,
        first_block_frames=facts.first_block_frames,
        prompt_characters=facts.prompt_characters,
        suggested_prompts=facts.suggested_prompts,
        adapters=facts.adapters,
        limits=session_limits(state.config),
    )
    return JSONResponse(ModelList(data=[model]).model_dump())


def _info(state: ApiState) -> Response:
    facts = state.worker.facts
    if facts is None:
        return problem_response(ErrorCode.WORKER_UNAVAILABLE, retry_after=state.config.retry_after)
    plan = facts.plan
    answer = ServerInfo(
        version=installed_version(),
        preset=facts.preset,
        fingerprint=facts.fingerprint,
        device=facts.device,
        dtype=facts.dtype,
        attention=facts.attention,
        parameters=facts.parameters,
        cache_bytes_per_stream=facts.cache_bytes_per_stream,
        max_streams=facts.max_streams,
        max_sessions=state.worker.places,
        plan=MemoryPlan(**{name: getattr(plan, name) for name in MemoryPlan.model_fields}),
        threads=facts.threads,
        warmup_ms=facts.warmup_ms,
        block_ms=facts.block_ms,
        replay_max_bytes=state.config.replay_max_bytes,
        replay_bytes=state.hubs.replay_bytes,
        limits=session_limits(state.config),
    )
    return JSONResponse(answer.model_dump())


def _health(state: ApiState) -> Response:
    worker = state.worker
    heard = worker.state not in (WorkerState.ABSENT, WorkerState.LOST)
    health = Health(
        status="ready" if worker.ready else "not ready",
        worker=worker.state.name.lower(),
        reason=worker.loss or None,
        heartbeat_age_s=round(worker.heartbeat_age(), 3) if heard else None,
        sessions=worker.sessions,
        waiting=worker.waiting,
        max_sessions=worker.places,
        connections=len(state.connections),
        uptime_s=round(time.monotonic() - state.started_at, 3),
    )
    return JSONResponse(health.model_dump(), status_code=200 if worker.ready else 503)
