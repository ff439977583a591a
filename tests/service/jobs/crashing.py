"""Kill a server at every persistence point of a job's life: `python -m tests.service.jobs.crashing [--every N]`.

A persistence point is a transaction's commit, a write or sync of a file, or a rename. Each life is a process of its
own over one store, killed with SIGKILL right before its n-th point (a write: in the middle of it); another life goes on
after it. The last line is one JSON document: the points, and in how many a job was lost, doubled or came out otherwise.
"""

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event

from service.access.principal import LOCAL
from service.jobs.values import Idempotency, JobStatus
from service.store.store import SessionStore
from tests.service.jobs.stages import expected, frames_in, opened, story

PROMPTS = ("a", "b", "b")
REQUEST = story("a", "b", seconds=2.0)
FRAMES = 32
KEY = Idempotency("key", "print")


@dataclass(slots=True)
class Points:
    """Counts them, and kills this process at one. None: at none."""

    kill_at: int | None = None
    count: int = 0

    def reached(self) -> bool:
        self.count += 1
        return self.count == self.kill_at

    def pass_by(self) -> None:
        if self.reached():
            die()

    def around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.pass_by()
            return real(*arguments, **named)

        return call

    def install(self, store: SessionStore) -> None:
        """From here on."""
        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, self.around(getattr(os, name)))
        real = os.pwrite

        def half(number: int, data: bytes, offset: int) -> int:
            if self.reached():
                real(number, data[: len(data) // 2], offset)
                die()
            return real(number, data, offset)

        setattr(os, "pwrite", half)  # noqa: B010 - mypy holds the assignment to the whole of its type

        def commit(connection: Any) -> None:
            if connection.get_execution_options().get("writes"):
                self.pass_by()

        event.listen(store._engine, "commit", commit)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def live(folder: Path, points: Points) -> dict[str, object]:
    """A client asks for the job, which has a key, until it is there; then it waits for its end."""
    async with opened(folder) as stage:
        points.install(stage.store)
        job = await stage.jobs.create(LOCAL, REQUEST, idempotency=KEY)
        done = await stage.end_of(job.id)
        listed = (await stage.jobs.list(LOCAL)).jobs
        video = (await stage.jobs.media(LOCAL, job.id)).path
        left = sorted(path.name for path in video.parent.iterdir())
        return {
            "points": points.count,
            "jobs": len(listed),
            "status": done.status,
            "losses": done.losses,
            "same": await stage.hashes(job.id) == expected(PROMPTS),
            "frames": frames_in(video),
            "left": left,
        }


def in_a_process(folder: Path, points: Points) -> dict[str, object] | None:
    """What a life says at its end; None where it was killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        said = json.dumps(asyncio.run(live(folder, points))).encode()
        os.write(write, said)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    assert status == 0, f"a life ended with {status}"
    found: dict[str, object] = json.loads(said)
    return found


def whole(folder: Path) -> bool:
    with sqlite3.connect(folder / "store.sqlite") as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


GOOD = {"jobs": 1, "status": JobStatus.COMPLETED, "losses": 0, "same": True, "frames": FRAMES}


def explore(root: Path, *, every: int, first: int) -> dict[str, object]:
    """Kill at point `first`, `first` + `every`, ... until a life has no such point."""
    number, killed = first, 0
    wrong: list[object] = []
    while True:
        folder = root / str(number)
        folder.mkdir()
        if in_a_process(folder, Points(number)) is not None:
            return {"points": number - 1, "killed": killed, "wrong": wrong}
        killed += 1
        found = in_a_process(folder, Points())
        if found is None or {name: found[name] for name in GOOD} != GOOD or not whole(folder):
            wrong.append({"point": number, "found": found})
        number += every


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(explore(Path(folder), every=options.every, first=options.first)))


if __name__ == "__main__":
    main()
