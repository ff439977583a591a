"""Servers as they are deployed, for commands that disturb them: processes on one store, and one address before them.

It knows processes, ports and readiness; nothing of sessions. Invariants: whatever was started has ended when the
context does; the address passes connections on to a server that takes them, as a service of a cluster does.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
HANG = 300.0
"""A guard against a hang: a worker takes seconds to start, many on a busy machine."""
SETTINGS: dict[str, object] = {
    "preset": "fast",
    "preset_dir": Path(__file__).parent / "presets",
    "random_weights": "true",
    "drain_handover": "always",
    "drain_grace": 0,
    "resume_grace": 300,
    "worker_restarts": 100,
    "worker_restart_window": 1,
    "worker_restart_delay": 0.01,
    "worker_restart_delay_max": 0.01,
    "restart_patience": 300,
    "heartbeat_timeout": 60,
    "answer_timeout": 300,
    "lease_seconds": 300,
    "max_sessions": 8,
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Server:
    """One `longtake serve`. `settings` over SETTINGS."""

    folder: Path
    settings: dict[str, object] = field(default_factory=dict)
    port: int = 0
    process: asyncio.subprocess.Process | None = None
    exits: list[int] = field(default_factory=list)

    async def start(self) -> None:
        """Returns when the process is there; `ready` when it takes sessions."""
        self.port = self.port or free_port()
        settings = {**SETTINGS, "store_dir": self.folder / "store", "port": self.port, **self.settings}
        command = [sys.executable, "-m", "service", "serve"]
        command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / f"server-{self.port}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, stdout=log, stderr=log, env=environment
            )

    async def ready(self) -> None:
        async with asyncio.timeout(HANG):
            while not await asyncio.to_thread(is_ready, self.port):
                assert self.process is not None
                assert self.process.returncode is None, (self.folder / f"server-{self.port}.log").read_text()[-3000:]
                await asyncio.sleep(0.1)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(HANG):
            code = await self.process.wait()
        self.exits.append(code)
        return code

    def get(self, path: str) -> object:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=HANG) as answer:
            found: object = json.load(answer)
            return found

    def workers(self) -> list[int]:
        """The processes of its workers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
        return [pid for pid, line in lines.items() if b"service.worker.main" in line]


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@dataclass(slots=True)
class Address:
    """Passes each connection on to a server that is ready and takes it, the one with fewest first."""

    servers: list[Server]
    port: int = 0
    open: dict[int, int] = field(default_factory=dict)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            for port in sorted((server.port for server in self.servers), key=lambda port: self.open.get(port, 0)):
                if await asyncio.to_thread(is_ready, port) and await self._pass_on(port, reader, writer):
                    return
        finally:
            self.writers.discard(writer)
            _drop(writer)

    async def _pass_on(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        self.open[port] = self.open.get(port, 0) + 1
        ways = [asyncio.create_task(_pass(reader, back)), asyncio.create_task(_pass(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.open[port] -= 1
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            _drop(back)
        return True

    def cut_all(self) -> int:
        """Every connection breaks, without a word. How many."""
        writers = list(self.writers)
        for writer in writers:
            _drop(writer)
        return len(writers)


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()


def _drop(end: asyncio.StreamWriter) -> None:
    with contextlib.suppress(RuntimeError):
        end.transport.abort()


@asynccontextmanager
async def deployed(servers: list[Server]) -> AsyncIterator[Address]:
    """All of them ready, behind one address."""
    address = Address(servers)
    listening = await asyncio.start_server(address.handle, "127.0.0.1", 0)
    address.port = listening.sockets[0].getsockname()[1]
    try:
        for server in servers:
            await server.start()
        await asyncio.gather(*(server.ready() for server in servers))
        yield address
    finally:
        listening.close()
        address.cut_all()
        await asyncio.gather(*(server.end(signal.SIGKILL) for server in servers if server.process is not None))
