"""The service as a whole: web server and store in this process, supervised workers beside it, and an end in order.

Knows signals, the listening socket and exit codes; knows nothing of sessions or of how a worker is kept running.
Invariants: both halves end together, whichever ends first; nothing of either is left; the exit code is 0 only if the
end was asked for by a signal.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from enum import IntEnum

from service.access.desk import Desk, check_exposed
from service.api.accounting import keep_accounts
from service.api.app import create_app
from service.api.server import Server, build_server
from service.api.worker_client import WorkerClient, WorkerState
from service.config import ServiceConfig, store_folder
from service.crew import Crew
from service.errors import ConfigError
from service.gpu.nvml import open_nvml
from service.gpu.watch import GpuWatch
from service.ipc import IpcError
from service.store.keeper import keep_held, keep_swept
from service.store.retention import Retention
from service.store.store import SessionStore, StoreOptions
from service.supervisor import DEFAULT_LOADER
from service.telemetry.logs import configure_logs

logger = logging.getLogger(__name__)

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})


class ServiceExit(IntEnum):
    ASKED = 0
    LOST = 1
    """The worker is lost for good, or the address or the store cannot be had."""


def run_service(config: ServiceConfig, *, loader: str = DEFAULT_LOADER) -> int:
    """Serve until a signal comes or the worker is lost for good. Returns the process's exit code.

    Args:
        loader: `module:function` that makes the engine, in the worker's process.
    """
    configure_logs(config.log_format, level=config.log_level, process="api")
    try:
        with listen(config.host, config.port) as listener:
            return asyncio.run(_serve(config, listener, loader=loader))
    except OSError as error:
        logger.error("cannot serve on %s port %d: %s", config.host, config.port, error)
    except IpcError as error:
        logger.error("cannot reach a worker: %s", error)
    except ConfigError as error:
        logger.error("cannot serve: %s", error)
    return ServiceExit.LOST


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port in use is known before a worker is loaded. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


async def _serve(config: ServiceConfig, listener: socket.socket, *, loader: str) -> int:
    with open_store(config) as store:
        await check_exposed(Desk(store.keys, config))
        async with kept(store, config):
            return await _serve_with(store, config, listener, loader=loader)


@contextlib.asynccontextmanager
async def kept(store: SessionStore, config: ServiceConfig) -> AsyncIterator[None]:
    """While this process uses the store: it is swept, and others on it know that this process is there."""
    keep = Retention(hours=config.retain_hours, max_bytes=config.store_max_bytes)
    held = keep_held(store, hold_seconds=config.hold_seconds, grace=config.resume_grace)
    tasks = [
        asyncio.create_task(keep_swept(store, keep, interval=config.store_sweep_interval)),
        asyncio.create_task(held),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def open_store(config: ServiceConfig) -> Iterator[SessionStore]:
    """The store that the settings name, until the service ends. Raises ConfigError."""
    options = StoreOptions(
        busy_timeout=config.store_busy_timeout,
        queue=config.store_queue,
        url=config.store_url,
        hold_seconds=config.hold_seconds,
    )
    store = SessionStore(store_folder(config), options)
    try:
        yield store
    finally:
        store.close()


async def _serve_with(store: SessionStore, config: ServiceConfig, listener: socket.socket, *, loader: str) -> int:
    client = WorkerClient(config)
    app = create_app(config, client, store=store)
    server, making = build_server(app, config), app.state.making
    crew = Crew(config, client, loader=loader)
    _end_on_signals(server)
    address = page_address(listener)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    supervising = asyncio.create_task(crew.run())
    watching = asyncio.create_task(watch_gpus(crew, config))
    announcing = asyncio.create_task(_announce(client, address))
    jobs = asyncio.create_task(making.run())
    accounts = asyncio.create_task(keep_accounts(app.state.api.services, app.state.api.connections))
    try:
        await asyncio.wait({serving, supervising}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        announcing.cancel()
        await making.stop()
        accounts.cancel()
        watching.cancel()
        await asyncio.gather(jobs, accounts, watching, return_exceptions=True)
        await crew.stop()
        asked = await supervising
    return ServiceExit.ASKED if asked else ServiceExit.LOST


async def watch_gpus(crew: Crew, config: ServiceConfig) -> None:
    """Until it is cancelled; at once, where the engine is on no GPU or none can be watched."""
    events = open_nvml() if config.gpu_watch and config.device != "cpu" else None
    if events is not None:
        await GpuWatch(events, crew, interval=config.gpu_watch_interval, settle=config.gpu_settle_seconds).run()


async def _announce(client: WorkerClient, address: str) -> None:
    await client.wait_for(WorkerState.READY)
    sys.stdout.write(f"Longtake is ready: {address}\n")
    sys.stdout.flush()


def _end_on_signals(server: Server) -> None:
    """The first signal ends the service in order, a second one without waiting for sessions."""

    def end() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)


def page_address(listener: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    host, port = listener.getsockname()[:2]
    if host in _ANY_ADDRESS:
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
