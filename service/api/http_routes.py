"""What the service says of itself over HTTP: alive, ready, healthy; its models and limits.

It knows nothing of the WebSocket's sessions beyond their number. Invariant: `/readyz` is 200 only while a
session would be started: worker loaded and warm, heartbeat fresh, not draining.
"""

import time
from dataclasses import dataclass, field
from importlib import metadata

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from service.api.connections import Connections
from service.api.problem import problem_response
from service.api.translate import session_limits
from service.api.worker_client import WorkerClient, WorkerState
from service.config import ServiceConfig
from service.errors import ErrorCode
from service.protocol import SUBPROTOCOL
from service.protocol.server import SessionLimits


@dataclass(frozen=True, slots=True)
class ApiState:
    """What the routes share: the settings, the worker and the open connections."""

    config: ServiceConfig
    worker: WorkerClient
    connections: Connections
    started_at: float = field(default_factory=time.monotonic)

    async def drain(self) -> None:
        """Ends every session and connection in order; bounded by the drain and close timeouts."""
        await self.worker.drain()
        await self.connections.end_all(self.config.close_timeout)


class Alive(BaseModel):
    status: str = "alive"


class Health(BaseModel):
    """`status` is what `/readyz` answers by; `worker` says why."""

    status: str
    worker: str
    reason: str | None = None
    heartbeat_age_s: float | None = None
    sessions: int
    max_sessions: int
    connections: int
    uptime_s: float


class Model(BaseModel):
    """One model that sessions can ask for. `block_frames` counts latent frames, the others pixel frames."""

    id: str
    object: str = "model"
    title: str
    licence: str
    width: int
    height: int
    fps: float
    block_frames: int
    frames_per_block: int
    first_block_frames: int
    prompt_characters: int
    suggested_prompts: tuple[str, ...]
    limits: SessionLimits


class ModelList(BaseModel):
    object: str = "list"
    data: list[Model]


class ServerInfo(BaseModel):
    """Facts for a bug report or a benchmark. Bytes, milliseconds and seconds as the names say."""

    name: str = "longtake"
    version: str
    subprotocol: str = SUBPROTOCOL
    preset: str
    fingerprint: str
    parameters: int
    cache_bytes_per_stream: int
    threads: int
    warmup_ms: float
    block_ms: float
    limits: SessionLimits


def installed_version() -> str:
    try:
        return metadata.version("longtake")
    except metadata.PackageNotFoundError:
        return "unknown"


def http_routes(state: ApiState) -> APIRouter:
    router = APIRouter(tags=["service"])

    @router.get("/livez")
    async def livez() -> Alive:
        """This process runs."""
        return Alive()

    @router.get("/readyz", response_model=Health)
    async def readyz() -> Response:
        """200 while a session would be started, else 503."""
        return _health(state)

    @router.get("/healthz", response_model=Health)
    async def healthz() -> Response:
        """The same under the name that older probes use."""
        return _health(state)

    @router.get("/v1/models", response_model=ModelList)
    async def models() -> Response:
        """The models that are loaded."""
        facts = state.worker.facts
        if facts is None:
            return problem_response(ErrorCode.WORKER_UNAVAILABLE, retry_after=1)
        model = Model(
            id=facts.preset,
            title=facts.title,
            licence=facts.licence,
            width=facts.width,
            height=facts.height,
            fps=facts.fps,
            block_frames=facts.block_frames,
            frames_per_block=facts.frames_per_block,
            first_block_frames=facts.first_block_frames,
            prompt_characters=facts.prompt_characters,
            suggested_prompts=facts.suggested_prompts,
            limits=session_limits(state.config),
        )
        return JSONResponse(ModelList(data=[model]).model_dump())

    @router.get("/v1/server/info", response_model=ServerInfo)
    async def info() -> Response:
        """The engine as it runs here."""
        facts = state.worker.facts
        if facts is None:
            return problem_response(ErrorCode.WORKER_UNAVAILABLE, retry_after=1)
        answer = ServerInfo(
            version=installed_version(),
            preset=facts.preset,
            fingerprint=facts.fingerprint,
            parameters=facts.parameters,
            cache_bytes_per_stream=facts.cache_bytes_per_stream,
            threads=facts.threads,
            warmup_ms=facts.warmup_ms,
            block_ms=facts.block_ms,
            limits=session_limits(state.config),
        )
        return JSONResponse(answer.model_dump())

    return router


def _health(state: ApiState) -> Response:
    worker = state.worker
    heard = worker.state not in (WorkerState.ABSENT, WorkerState.LOST)
    health = Health(
        status="ready" if worker.ready else "not ready",
        worker=worker.state.name.lower(),
        reason=worker.loss or None,
        heartbeat_age_s=round(worker.heartbeat_age(), 3) if heard else None,
        sessions=worker.sessions,
        max_sessions=state.config.max_sessions,
        connections=len(state.connections),
        uptime_s=round(time.monotonic() - state.started_at, 3),
    )
    return JSONResponse(health.model_dump(), status_code=200 if worker.ready else 503)
