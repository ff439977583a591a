"""The whole service as processes: an address when ready, sessions over the wire, and exit codes that tell the truth."""

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

from service.launch import ServiceExit, listen, page_address

LOADER = "tests.service.worker.fakes:load_fake"
PATIENCE = 120.0
"""For two processes that have to import their libraries on a busy machine."""


@dataclass
class Service:
    process: asyncio.subprocess.Process
    log: Path
    model: str
    address: str = ""

    async def ready(self) -> None:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
        assert line.startswith(b"Longtake is ready: http://127.0.0.1:"), self.log.read_text("utf-8")
        self.address = line.decode().split()[-1]

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.process.wait(), PATIENCE)

    async def status(self, path: str) -> int:
        return await asyncio.to_thread(_status, self.address + path)

    async def worker_pid(self) -> int:
        (child,) = psutil.Process(self.process.pid).children()
        return child.pid

    @asynccontextmanager
    async def session(self, **fields: object) -> AsyncIterator[ClientConnection]:
        url = self.address.replace("http", "ws") + "v1/realtime/video"
        async with connect(url, max_size=None) as talk:
            start = {"type": "session.start", "model": self.model, "prompt": "p", "pacing": "none", "format": "png"}
            await talk.send(json.dumps({**start, **fields}))
            yield talk


@asynccontextmanager
async def service(tmp_path: Path, *, loader: str = LOADER, **settings: object) -> AsyncIterator[Service]:
    """Afterwards the process has ended, and its worker and folder are gone."""
    folders = tmp_path / "t"
    folders.mkdir()
    log = tmp_path / "log"
    store = str(tmp_path / "store")
    values = {
        "preset": "fake",
        "port": 0,
        "store_dir": store,
        "worker_restart_delay": 0.01,
        "heartbeat_interval": 0.1,
        **settings,
    }
    code = (
        "import json, sys\n"
        "from service.config import ServiceConfig\n"
        "from service.launch import run_service\n"
        "sys.exit(run_service(ServiceConfig(**json.loads(sys.argv[1])), loader=sys.argv[2]))\n"
    )
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, json.dumps(values), loader),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "TMPDIR": str(folders)},
        )
    children: list[psutil.Process] = []
    try:
        yield Service(process, log, str(values["preset"]))
        children = psutil.Process(process.pid).children() if process.returncode is None else []
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert list(folders.iterdir()) == []


async def hear(talk: ClientConnection, last: str) -> list[dict[str, object]]:
    """The messages in text up to one of type `last`."""
    heard: list[dict[str, object]] = []
    async with asyncio.timeout(PATIENCE):
        while not heard or heard[-1]["type"] != last:
            message = await talk.recv()
            if isinstance(message, str):
                heard.append(json.loads(message))
                assert last == "error" or heard[-1]["type"] != "error", heard[-1]
    return heard


async def test_a_session_runs_from_start_to_done_and_a_signal_ends_the_service(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        await running.ready()
        assert await running.status("readyz") == 200
        assert await running.status("") == 200
        async with running.session(max_seconds=2.0) as talk:
            heard = await hear(talk, "session.done")
        chunks = [message for message in heard if message["type"] == "video.chunk_metadata"]
        assert heard[0]["type"] == "video.start"
        assert [chunk["sequence"] for chunk in chunks] == list(range(len(chunks)))
        assert sum(int(str(chunk["num_frames"])) for chunk in chunks) == 18  # 2, then 4 at a time, to 16 or more
        assert heard[-1]["reason"] == "completed"
        running.process.send_signal(signal.SIGTERM)
        assert await running.exit_code() == ServiceExit.ASKED


async def test_a_session_goes_on_after_its_worker_was_killed_and_ctrl_c_drains_it(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        await running.ready()
        async with running.session() as talk:
            heard = await hear(talk, "video.chunk_metadata")
            os.kill(await running.worker_pid(), signal.SIGKILL)
            heard += await hear(talk, "session.worker_restarting")
            assert await running.status("livez") == 200
            heard += await hear(talk, "session.resumed")
            assert heard[-1]["cause"] == "worker"
            for _ in range(3):
                heard += await hear(talk, "video.chunk_metadata")
            assert await running.status("readyz") == 200
            running.process.send_signal(signal.SIGINT)
            heard += await hear(talk, "session.done")
        sequences = [message["sequence"] for message in heard if message["type"] == "video.chunk_metadata"]
        assert sequences == list(range(len(sequences)))
        assert heard[-1]["reason"] == "drained"
        assert await running.exit_code() == ServiceExit.ASKED


async def test_a_worker_lost_for_good_ends_the_service_with_an_error(tmp_path: Path) -> None:
    async with service(tmp_path, preset="fake-exit", worker_restarts=0) as running:
        assert await running.exit_code() == ServiceExit.LOST
        assert "lost too often: its process ended with code 42" in running.log.read_text("utf-8")


async def test_a_refused_preset_ends_it_at_once_and_is_named(tmp_path: Path) -> None:
    async with service(tmp_path, preset="unknown") as running:
        assert await running.exit_code() == ServiceExit.LOST
        assert "expected a fake preset, got 'unknown'" in running.log.read_text("utf-8")


async def test_a_port_in_use_is_said_before_a_worker_is_started(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        async with service(tmp_path, port=taken.getsockname()[1]) as running:
            assert await running.exit_code() == ServiceExit.LOST
            assert "cannot serve on 127.0.0.1" in running.log.read_text("utf-8")


async def test_the_real_engine_streams_and_takes_a_prompt(tmp_path: Path) -> None:
    async with service(tmp_path, loader="models.load:load_engine", preset="demo") as running:
        await running.ready()
        async with running.session(max_seconds=3.0) as talk:
            interaction = {"type": "session.interaction", "event_id": "e", "prompt": "the sea at night", "at": 1.0}
            await talk.send(json.dumps(interaction))
            heard = await hear(talk, "session.done")
        chunks = [message for message in heard if message["type"] == "video.chunk_metadata"]
        assert len({chunk["frames_sha256"] for chunk in chunks}) == len(chunks) == 4
        assert [chunk["started_event_ids"] for chunk in chunks] == [[], [], ["e"], []]
        kinds = [message["type"] for message in heard if "interaction" in str(message["type"])]
        assert kinds == ["session.interaction.queued", "session.interaction.applied"]
        running.process.send_signal(signal.SIGTERM)
        assert await running.exit_code() == ServiceExit.ASKED


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://localhost:"), ("::1", "http://[::1]:")],
)
def test_the_address_is_one_that_a_browser_here_can_open(host: str, address: str) -> None:
    with listen(host, 0) as listener:
        assert page_address(listener) == f"{address}{listener.getsockname()[1]}/"


def test_a_host_that_is_not_one_is_an_os_error() -> None:
    with pytest.raises(socket.gaierror):
        listen("no such host", 1)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
