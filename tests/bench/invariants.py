"""What has to hold of a service after it was disturbed, whatever was done to it.

It knows what clients saw, the store and the server's process; nothing of how it was disturbed. Invariants checked: no
place, turn or connection is left; chunks came in order, none missing; every prompt ended once; jobs went one way, with
attempts that grow; every stored session replays to its hashes; no prompt is in a log; nothing is left behind.
"""

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import psutil

from client.recording import TakeFiles
from client.switch import Switch
from models.generator import Generator
from models.load import LoadOptions, load_engine
from service.commands.replay import replay
from service.commands.stored import StoredLatents
from service.store.document import read_document
from tests.bench.deployment import HANG, Server
from tests.bench.directed import Watched
from tests.bench.queueing import Queueing

PRESETS = Path(__file__).parent / "presets"


class Story(Protocol):
    @property
    def sessions(self) -> list[Watched]: ...

    @property
    def switches(self) -> list[Switch]: ...

    @property
    def troubles(self) -> list[str]: ...


async def check_all(server: Server, story: Story, queueing: Queueing, *, canary: str) -> list[str]:
    """What does not hold, in words; the server has ended then."""
    faults = [*story.troubles, *_watched(story), *(f"job failed: {job}" for job in queueing.failed), *queueing.wrong]
    faults += await _settled(server)
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    code = await server.end()
    if code != 0:
        faults.append(f"the server ended with code {code}")
    store = server.folder / "store"
    faults += _jobs(store, queueing)
    faults += await asyncio.to_thread(lambda: list(_replays(store, story)))
    faults += _left(server, store, children)
    log = (server.folder / f"server-{server.port}.log").read_text(errors="replace")
    if canary in log:
        faults.append("a prompt is in the log")
    return faults


def _watched(story: Story) -> Iterator[str]:
    for one in story.sessions:
        if one.gaps or one.missing:
            yield f"session {one.session_id}: {one.gaps} gaps, {one.missing} chunks missing"
        if one.done not in ("completed", "stopped"):
            yield f"session {one.session_id} ended as {one.done!r}"
    left = sum(not switch.is_over for switch in story.switches)
    if left:
        yield f"{left} prompts have no end"


async def _settled(server: Server) -> list[str]:
    """Once everybody has left, nothing is taken."""
    health: dict[str, object] = {}
    try:
        async with asyncio.timeout(HANG):
            while True:
                found = await asyncio.to_thread(server.get, "/readyz")
                assert isinstance(found, dict)
                health = found
                if not any(health[name] for name in ("sessions", "waiting", "connections")):
                    return []
                await asyncio.sleep(0.2)
    except TimeoutError:
        return [f"something is left: {health}"]


def _jobs(store: Path, queueing: Queueing) -> Iterator[str]:
    with closing(sqlite3.connect(store / "store.sqlite")) as database:
        if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            yield "the database is damaged"
        live = database.execute("SELECT count(*) FROM sessions WHERE ended_at IS NULL").fetchone()[0]
        if live:
            yield f"{live} sessions are live in the store"
        known = dict(database.execute("SELECT id, status FROM jobs"))
        attempts = database.execute("SELECT job, attempt FROM job_attempts ORDER BY job, started_at").fetchall()
    if set(known) != set(queueing.accepted):
        yield f"{len(known)} jobs are stored, {len(queueing.accepted)} were accepted"
    for job, status in known.items():
        numbers = [attempt for name, attempt in attempts if name == job]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"attempts of job {job} are {numbers}"
        if status != "completed":
            yield f"job {job} is {status}"


def _replays(store: Path, story: Story) -> Iterator[str]:
    """Every session is made again from its record; what clients saw is what is stored."""
    engine = load_engine("fast", LoadOptions(device="cpu", threads=1, random_seed=0, preset_dir=PRESETS))
    assert isinstance(engine, Generator)
    for one in story.sessions:
        if not one.session_id:
            continue
        document = read_document(store, one.session_id)
        with tempfile.TemporaryDirectory():
            stored = StoredLatents(store, one.session_id)
            report = replay(engine, document, stored=stored, files=TakeFiles(), shown=())
        if not report.exact or report.equal != report.chunks:
            yield f"session {one.session_id} replays otherwise: {report.to_json()}"
        final = [row.frames_sha256 for row in document.course]
        if one.video != final:
            yield f"session {one.session_id}: {len(one.video)} blocks were seen, {len(final)} are stored, or others"


def _left(server: Server, store: Path, children: list[psutil.Process]) -> Iterator[str]:
    alive = [child.pid for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    if alive:
        yield f"processes are left: {alive}"
    parts = [str(path) for path in store.rglob("*.part")]
    if parts:
        yield f"unfinished files are left: {parts[:3]}"
