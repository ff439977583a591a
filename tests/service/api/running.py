"""A real server on a free port of the loopback with a fake worker behind it, for tests of the wire.

It knows nothing of models. Invariant: when the context ends, the server, the worker and every task of both
have ended.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from service.api.app import REALTIME_PATH, create_app
from service.api.http_routes import ApiState
from service.api.server import Server, build_server
from service.api.worker_client import WorkerClient, WorkerState
from service.config import ServiceConfig
from service.protocol import SUBPROTOCOL, ClientMessage, ServerMessage, encode_message, parse_server_message
from service.protocol.server import ChunkMetadata, ErrorMessage, SessionDone, UnknownMessage
from service.store.store import SessionStore
from tests.service.fakes import FACTS
from tests.service.memory_worker import MemoryWorker

PATIENCE = 60.0
"""Seconds after which a test gives up on something that should have come at once."""
MEMORY = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)
"""Where stores of tests lie: in memory, where there is such a place, so that no test waits for a busy disk."""
FAST = ServiceConfig(
    port=0,
    heartbeat_interval=0.05,
    heartbeat_timeout=PATIENCE,
    message_rate=1e6,
    message_burst=10_000,
    waiting_room=0,
    drain_grace=0.0,
    resume_grace=0.05,
    restart_patience=0.05,
)
"""A lost connection or worker is the end of a session, nearly at once."""
PATIENT = FAST.model_copy(update={"resume_grace": 600.0, "restart_patience": 600.0})
"""Sessions wait for their director, or for another worker, as long as a test may take."""


@dataclass(slots=True)
class Running:
    port: int
    worker: MemoryWorker
    client: WorkerClient
    state: ApiState
    server: Server
    store: SessionStore
    tasks: list["asyncio.Task[None]"]

    def kill_worker(self, reason: str = "it was killed") -> None:
        """As a supervisor tells that the worker's process is gone."""
        for task in self.tasks:
            task.cancel()
        self.client.lose(reason)

    async def new_worker(self, *, fingerprint: str = FACTS.fingerprint) -> MemoryWorker:
        """Another worker, once the one before is gone."""
        await asyncio.gather(*self.tasks, return_exceptions=True)
        before = self.worker
        self.worker = before.successor()
        self.worker.facts = msgspec.structs.replace(FACTS, fingerprint=fingerprint)
        self.tasks[:] = _serve_worker(self.worker, self.client)
        async with asyncio.timeout(PATIENCE):
            await self.client.wait_for(WorkerState.READY)
        return self.worker

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"ws://{self.authority}{REALTIME_PATH}"

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Talk"]:
        async with connect(
            self.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=None,
            max_queue=4,
            open_timeout=PATIENCE,
            close_timeout=1,
        ) as socket:
            yield Talk(socket)


@dataclass(slots=True)
class Received:
    """One message, and the bytes that followed it if it announces some."""

    message: ServerMessage | UnknownMessage
    payload: bytes | None = None


class Talk:
    """A client that checks what it can: text is a message, and metadata is followed by its bytes at once."""

    def __init__(self, socket: ClientConnection, *, patience: float = PATIENCE) -> None:
        self.socket = socket
        self._patience = patience

    async def say(self, message: ClientMessage | str | bytes) -> None:
        await self.socket.send(message if isinstance(message, str | bytes) else encode_message(message))

    async def hear(self) -> Received:
        async with asyncio.timeout(self._patience):
            text = await self.socket.recv()
            assert isinstance(text, str), "expected text, got a binary message that nothing announced"
            message = parse_server_message(text)
            if not isinstance(message, ChunkMetadata):
                return Received(message)
            payload = await self.socket.recv()
        assert isinstance(payload, bytes), f"expected the chunk's bytes, got {payload!r}"
        assert len(payload) == message.byte_length
        return Received(message, payload)

    async def hear_until(self, *kinds: type[ServerMessage]) -> list[Received]:
        """Everything up to the first message of one of these kinds, that one included."""
        heard = [await self.hear()]
        while not isinstance(heard[-1].message, kinds):
            heard.append(await self.hear())
        return heard

    async def error(self) -> ErrorMessage:
        """The next error, passing over everything else."""
        message = (await self.hear_until(ErrorMessage, SessionDone))[-1].message
        assert isinstance(message, ErrorMessage), f"expected an error, got {message}"
        return message

    async def closed(self) -> int:
        """The close code, once nothing more comes."""
        async with asyncio.timeout(PATIENCE):
            await self.socket.wait_closed()
        assert self.socket.close_code is not None
        return self.socket.close_code


@asynccontextmanager
async def running(
    config: ServiceConfig = FAST,
    *,
    frame_bytes: int = 100,
    chunk_interval: float = 0.001,
    store_folder: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Running]:
    """`store_folder`: of a store that outlives it; None: one of its own. `clock`: by which workers fall silent."""
    worker = MemoryWorker(frame_bytes=frame_bytes, chunk_interval=chunk_interval)
    client = WorkerClient(config, clock=clock)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        closing(SessionStore(store_folder or Path(folder))) as store,
    ):
        app = create_app(config, client, store=store)
        server = build_server(app, config)
        tasks = _serve_worker(worker, client)
        serving = asyncio.create_task(server.serve())
        try:
            async with asyncio.timeout(PATIENCE):
                await client.wait_for(WorkerState.READY)
                while not server.started:
                    await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Running(port, worker, client, app.state.api, server, store, tasks)
        finally:
            server.should_exit = True
            await asyncio.wait_for(serving, PATIENCE)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _serve_worker(worker: MemoryWorker, client: WorkerClient) -> list["asyncio.Task[None]"]:
    return [asyncio.create_task(worker.run()), asyncio.create_task(client.serve(worker.link))]
