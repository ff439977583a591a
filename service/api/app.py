"""The web application: the WebSocket, the routes about the service, and the page.

It knows nothing of how the worker runs or how the server listens. Invariant: a WebSocket is accepted only
after its origin, host and subprotocol were checked and while there is room for it; no torch is imported.
"""

from fastapi import FastAPI, WebSocket

from service.access.desk import Desk
from service.access.quota import Quotas
from service.api.documents_routes import describe
from service.api.entrance import Entrance
from service.api.http_routes import ApiState, http_routes, installed_version
from service.api.metrics import HttpMeter, Metrics
from service.api.observing import Observing
from service.api.page import page_routes
from service.api.pictures import PICTURES_PATH, Pictures, picture_routes
from service.api.problem import add_problem_handlers, problem_response
from service.api.realtime import Connection
from service.api.reception import Reception
from service.api.recordings import Recordings, record_command
from service.api.services import Services
from service.api.sessions_routes import SessionRoutes, sessions_routes
from service.api.takes_routes import takes_routes
from service.api.tokens import Tokens
from service.api.tokens_routes import tokens_routes
from service.api.videos.batch_routes import BATCHES_PATH
from service.api.videos.bodies import Uploads
from service.api.videos.making import Making
from service.api.videos.routes import VIDEOS_PATH
from service.api.videos.wiring import VideoParts
from service.api.worker_client import WorkerClient
from service.config import ServiceConfig
from service.errors import ErrorCode
from service.hooks import hooks_of
from service.jobs.jobs import Jobs
from service.outbound.fetching import outbound_of
from service.protocol import SUBPROTOCOL
from service.store.store import SessionStore
from service.store.webhooks import WebhookBook
from service.telemetry.tracing import tracing_to
from service.uploads.checking import FileCheck

REALTIME_PATH = "/v1/realtime/video"


def create_app(config: ServiceConfig, worker: WorkerClient, *, store: SessionStore) -> FastAPI:
    """The app over a worker that something else serves (`WorkerClient.serve`) and a store that something else closes.

    `app.state.api` is its ApiState, `app.state.making` what makes batch jobs.
    """
    metrics = Metrics()
    services = Services(
        config=config,
        worker=worker,
        store=store,
        metrics=metrics,
        tokens=Tokens(config.resume_tokens, keeper=store.holds),
        pictures=Pictures(config),
        desk=Desk(store.keys, config),
        quotas=Quotas(store.keys),
        tracing=tracing_to(
            config.telemetry_endpoint, share=config.telemetry_share, process="api", version=installed_version()
        ),
        hooks=hooks_of(config, lambda outcome: metrics.prompts.labels(outcome).inc()),
    )
    state = ApiState(services)
    app = FastAPI(title="Longtake", version=installed_version(), openapi_url=None, docs_url=None, redoc_url=None)
    app.state.api = state
    add_problem_handlers(app, retry_after=config.retry_after)
    _guard(app, services)
    app.include_router(http_routes(state))
    app.include_router(tokens_routes(services.desk))
    app.include_router(picture_routes(services.pictures, config))
    recordings = Recordings(
        store.folder,
        record_command(store.folder, random_weights=config.random_weights),
        timeout=config.recording_timeout,
    )
    sessions = SessionRoutes(store, state.hubs, recordings=recordings)
    app.include_router(sessions_routes(sessions))
    app.include_router(takes_routes(store, sessions.guard))
    app.state.making = making = _add_videos(app, services)
    state.job_counts = lambda: (making.jobs.runner.waiting, len(making.jobs.runner.running))

    @app.websocket(REALTIME_PATH)
    async def realtime(websocket: WebSocket) -> None:
        if state.connections.full:
            response = problem_response(ErrorCode.CAPACITY, retry_after=config.retry_after)
            await websocket.send_denial_response(response)
            return
        connection = Connection(websocket, state.hubs, services=services)
        with state.connections.holding(connection):
            await websocket.accept(SUBPROTOCOL if websocket.scope["subprotocols"] else None)
            await connection.run()

    describe(app, REALTIME_PATH)
    app.include_router(page_routes())
    return app


def _add_videos(app: FastAPI, services: Services) -> Making:
    """The routes of batch jobs; what makes them has to be run by whoever runs the app."""
    config, worker, store = services.config, services.worker, services.store
    parts = VideoParts(
        config=config,
        hooks=services.hooks,
        outbound=outbound_of(config),
        check=FileCheck(),
        facts=lambda: worker.facts,
    )
    tries = services.metrics.webhooks
    webhooks = parts.webhooks(WebhookBook(store.write, store.read), lambda outcome: tries.labels(outcome).inc())
    jobs = Jobs.over(
        store,
        config,
        workers=worker,
        on_terminal=webhooks.on_terminal,
        woken=webhooks.wake,
        counted=services.metrics.job_ended,
    )
    for router in parts.routers(jobs, webhooks):
        app.include_router(router)
    return Making(jobs, webhooks)


def _guard(app: FastAPI, services: Services) -> None:
    """What every request goes through before its route, the last one first."""
    config = services.config
    own_bounds = {
        # Each of these routes says which of its own bounds it is.
        PICTURES_PATH: 2 * config.max_picture_bytes,
        VIDEOS_PATH: 2 * Uploads(config).most_bytes,
        BATCHES_PATH: 2 * config.max_batch_bytes,
    }
    app.add_middleware(Entrance, desk=services.desk, config=config)
    app.add_middleware(Reception, config=config, own_bounds=own_bounds)
    app.add_middleware(HttpMeter, metrics=services.metrics)
    app.add_middleware(Observing, tracing=services.tracing)
