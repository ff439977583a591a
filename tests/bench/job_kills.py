"""Kill the API process, the worker, or both, at persistence points of a job: `python -m tests.bench.job_kills`.

The whole service, with a small model: a client creates a job over REST with a key, and asks again until it is there.
The last line is one JSON document: kills, and in how many the frames, the number of jobs or the film were not those of
an undisturbed run.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

from models.load import load_engine as load
from service.config import ServiceConfig
from service.launch import run_service
from service.store.store import SessionStore
from tests.service.jobs.crashing import Points
from tests.service.jobs.stages import frames_in

PRESETS = Path(__file__).parent / "presets"
WORKER_POINT = "JOB_KILLS_WORKER_POINT"
BOTH = "JOB_KILLS_BOTH"
PROMPTS = [{"at": 0, "prompt": "a red ball rests over the sea"}, {"at": 0.7, "prompt": "snow at night"}]
ASKED = {"prompts": PROMPTS, "seconds": "2.2", "seed": 11}
FRAMES = 35
LIMIT = 240.0
Victim = Literal["api", "worker", "both"]


def load_engine(preset: str, options: Any) -> Any:
    """The worker's engine; the first worker of a life is killed at its point, with its parent where both are to go."""
    engine = load(preset, options)
    mark = Path(os.environ.get(WORKER_POINT, ""))
    if mark.is_file():
        points = WorkerPoints(int(mark.read_text()))
        mark.unlink()
        points.install_in_worker()
    return engine


class WorkerPoints(Points):
    def reached(self) -> bool:
        found = super().reached()
        if found and os.environ.get(BOTH):
            os.kill(os.getppid(), signal.SIGKILL)
        return found

    def install_in_worker(self) -> None:
        for name in ("fsync", "replace", "rename"):
            setattr(os, name, self.around(getattr(os, name)))


def serve(store: Path, port: int, *, api_point: int) -> None:
    """In a process of its own: the service, killed at its n-th point, 0 for none."""
    began = SessionStore.__init__
    points = Points(api_point or None)

    def begin(self: SessionStore, *arguments: Any, **named: Any) -> None:
        began(self, *arguments, **named)
        points.install(self)

    SessionStore.__init__ = begin  # type: ignore[method-assign]
    config = ServiceConfig(
        port=port,
        preset="fast",
        preset_dir=PRESETS,
        random_weights=True,
        store_dir=store,
        disk_floor_bytes=0,
        worker_restart_delay=0.1,
    )
    sys.exit(run_service(config, loader="tests.bench.job_kills:load_engine"))


@dataclass(slots=True)
class Life:
    """One service over a store, on a port, with what is to go wrong with it."""

    store: Path
    port: int
    api_point: int = 0
    worker_point: int = 0
    both: bool = False
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        environment = dict(os.environ)
        if self.worker_point:
            mark = self.store.parent / f"{self.store.name}.point"
            mark.write_text(str(self.worker_point))
            environment[WORKER_POINT] = str(mark)
        if self.both:
            environment[BOTH] = "1"
        words = ["--serve", str(self.store), str(self.port), str(self.api_point)]
        command = [sys.executable, "-m", "tests.bench.job_kills", *words]
        with (self.store.parent / f"{self.store.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    @property
    def killed(self) -> bool:
        return self.process.poll() is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.killed:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()

    def ask(self, path: str, body: object = None) -> Any:
        """Raises OSError where nobody answers, or answers with an error."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": "one"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())


def make(life: Life) -> str | None:
    """The job's id once it is over; None where the service was killed before."""
    until = time.monotonic() + LIMIT
    job = None
    while time.monotonic() < until and not life.killed:
        try:
            if job is None:
                job = life.ask("/v1/videos", ASKED)["id"]
            if life.ask(f"/v1/videos/{job}")["status"] in ("completed", "failed"):
                return str(job)
        except OSError:
            pass  # not yet, or no longer
        time.sleep(0.1)
    assert life.killed, "a job takes no such time"
    return None


def facts(life: Life, job: str, store: Path) -> dict[str, object]:
    """What has to be the same in every life."""
    journal = life.ask(f"/v1/sessions/{job}/journal")
    return {
        "status": life.ask(f"/v1/videos/{job}")["status"],
        "hashes": [chunk["frames_sha256"] for chunk in journal["chunks"]],
        "events": journal["journal"]["events"],
        "jobs": len(life.ask("/v1/videos")["data"]),
        "frames": frames_in(store / "jobs" / job / "video.mp4"),
    }


def one(root: Path, port: int, *, victim: Victim | None, point: int) -> tuple[bool, dict[str, object]]:
    """Whether something was killed, and the facts in the end."""
    store = root / f"{victim}-{point}"
    store.mkdir()
    hit = {"api_point": point} if victim == "api" else {}
    hit = {"worker_point": point} if victim in ("worker", "both") else hit
    with Life(store, port, **hit, both=victim == "both") as life:
        job = make(life)
        found = facts(life, job, store) if job is not None else None
    again = found is None
    if found is None:
        with Life(store, port) as life:
            job = make(life)
            assert job is not None, "nothing is killed in the second life"
            found = facts(life, job, store)
    worker_killed = "worker is lost" in (root / f"{store.name}.log").read_text()
    return again or (victim == "worker" and worker_killed), found


def run(root: Path, *, victims: list[Victim], every: int, most: int, port: int) -> dict[str, object]:
    _, good = one(root, port, victim=None, point=0)
    assert good["frames"] == FRAMES, good
    said: dict[str, object] = {}
    for victim in victims:
        kills, point = 0, 1
        wrong: list[object] = []
        while point <= most:
            killed, found = one(root, port, victim=victim, point=point)
            kills += killed
            if found != good:
                wrong.append({"point": point, "found": found})
            if not killed:
                break
            point += every
        said[victim] = {"kills": kills, "wrong": wrong}
        print(json.dumps({victim: said[victim]}), flush=True)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--victims", nargs="+", choices=get_args(Victim), default=list(get_args(Victim)))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--port", type=int, default=18431)
    parser.add_argument("--serve", nargs=3, metavar=("STORE", "PORT", "POINT"))
    options = parser.parse_args()
    if options.serve:
        store, port, point = options.serve
        serve(Path(store), int(port), api_point=int(point))
    with tempfile.TemporaryDirectory() as folder:
        print(
            json.dumps(
                run(Path(folder), victims=options.victims, every=options.every, most=options.most, port=options.port)
            )
        )


if __name__ == "__main__":
    main()
