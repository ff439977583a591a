"""The API as a replica of Ray Serve: `serve run service.cluster.app:app`, or `longtake serve --cluster`.

It knows the app's parts and Ray Serve; nothing of sessions. Invariants: a replica is the same application as on one
machine, with the store and the workers that all share; when Serve ends it, its sessions are let go for the others.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI

from service.api.app import create_app
from service.api.worker_client import WorkerClient
from service.cluster.directory import directory
from service.cluster.peers import Peers
from service.config import ServiceConfig, load_config
from service.errors import ConfigError
from service.launch import kept, open_store
from service.supervisor import DEFAULT_LOADER

logger = logging.getLogger(__name__)

NAME = "longtake"
_LOOK = 0.5
"""Seconds after which the main thread runs what a signal asks for, at the latest."""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Replica:
    """An ASGI application whose parts are there between the start and the end of its lifespan."""

    def __init__(self, config: ServiceConfig, loader: str) -> None:
        self._config = config
        self._loader = loader
        self._app: FastAPI | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert self._app is not None, "a request comes within the lifespan"
        await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        async with self._parts() as app:
            self._app = app
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            await app.state.api.drain()
        await send({"type": "lifespan.shutdown.complete"})

    @contextlib.asynccontextmanager
    async def _parts(self) -> AsyncIterator[FastAPI]:
        config = self._config
        with open_store(config) as store:
            client = WorkerClient(config)
            app = create_app(config, client, store=store)
            peers = Peers(config, client, directory=directory(config, self._loader), peer=store.holds.holder)
            making = app.state.making
            tasks = [asyncio.create_task(peers.run()), asyncio.create_task(making.run())]
            try:
                async with kept(store, config):
                    yield app
            finally:
                await making.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


def build(config: ServiceConfig, *, loader: str = DEFAULT_LOADER) -> Any:
    """The application for `serve.run`. Raises ConfigError where replicas would not share what they have to."""
    from ray import serve

    if config.store_url is None or config.store_dir is None:
        raise ConfigError("a cluster needs store_url (Postgres), and store_dir, a folder that all see")
    ingress = serve.ingress(lambda: Replica(config, loader))()
    deployment = serve.deployment(
        name=NAME,
        num_replicas=config.cluster_replicas,
        max_ongoing_requests=config.max_connections,
        graceful_shutdown_timeout_s=config.drain_grace + config.close_timeout,
        health_check_period_s=config.cluster_look_interval,
        ray_actor_options={"num_cpus": config.cluster_worker_cpus / 2},
    )
    return deployment(ingress).bind()


def app(settings: dict[str, object] | None = None) -> Any:
    """What `serve run service.cluster.app:app name=value` and a RayService build: settings, else the environment."""
    return build(load_config(flags=settings or {}))


def run_cluster(config: ServiceConfig, *, loader: str = DEFAULT_LOADER) -> int:
    """Serve on a cluster until a signal comes. Returns the process's exit code."""
    try:
        application = build(config, loader=loader)
    except ConfigError as error:
        logger.error("cannot serve: %s", error)
        return 1
    import ray
    from ray import serve

    address = None if config.cluster_address == "local" else config.cluster_address
    ray.init(address=address, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": config.host, "port": config.port, "location": "EveryNode"})
        serve.run(application, name=NAME, route_prefix="/")
        sys.stdout.write(f"Longtake is ready: http://{config.host}:{config.port}/\n")
        sys.stdout.flush()
        _until_asked()
    finally:
        serve.shutdown()
        ray.shutdown()
    return 0


def _until_asked() -> None:
    """Until SIGINT or SIGTERM comes."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: asked.set())
    while not asked.wait(_LOOK):
        pass
