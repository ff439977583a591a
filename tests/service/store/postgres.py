"""A real Postgres server for one test run: Debian's programs, a folder of its own, a socket in it and no port.

It knows nothing of the store. Invariant: the server and its folder are gone when the context ends.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
USER = "nobody"
"""It refuses to run as root."""
HANG = 120.0
MEMORY = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)
"""Where it lies, where there is such a place: no test is about disks."""


@dataclass(frozen=True, slots=True)
class Postgres:
    folder: Path
    numbers: "count[int]"

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"store{next(self.numbers)}"
        _run("createdb", "--host", str(self.folder), name)
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

    def query(self, url: str, sql: str) -> str:
        name = url.partition("@/")[2].partition("?")[0]
        return _run("psql", "--host", str(self.folder), "--tuples-only", "--no-align", "--command", sql, name)

    def stop(self) -> None:
        """At once, as if the machine had lost its power."""
        _run("pg_ctl", "stop", "--pgdata", str(self.folder / "data"), "--mode", "immediate", "-t", "110")

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c shared_buffers=16MB -c max_connections=50 -c fsync=off"
        log = self.folder / "log"
        _run("pg_ctl", "start", "--pgdata", str(self.folder / "data"), "--log", str(log), "-t", "110", "-o", options)


def _run(program: str, *arguments: str) -> str:
    command = [str(PROGRAMS / program), *arguments]
    as_user = {"user": USER} if os.geteuid() == 0 else {}
    # Not a pipe that the server would inherit and hold open.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(  # type: ignore[call-overload]
            command, stdout=said, stderr=said, timeout=HANG, check=False, cwd="/", **as_user
        )
        said.seek(0)
        text = said.read().decode()
    assert done.returncode == 0, f"{program}: {text}"
    return str(text.strip())


@contextmanager
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="longtake-pg-", dir=MEMORY))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        _run("initdb", "--pgdata", str(folder / "data"), "--auth", "trust", "--username", USER, "--no-sync")
        server = Postgres(folder, count())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
