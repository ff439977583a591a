"""Many jobs through the queue of a whole service with a small model: `python -m tests.bench.jobs --jobs 10000`.

Several clients create jobs over REST, so many a second together, while the service makes them; then all are waited
for. The last line is one JSON document: jobs created, lost, doubled and failed, percentiles of the time from when a
create was due to its answer, jobs a second, and the memory of the API process at every tenth of the way.
"""

import argparse
import http.client
import json
import statistics
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from tests.serving import running_service

PRESETS = Path(__file__).parent / "presets"
PAGE = 100
LIMIT = 6 * 3600.0
TRIES = 20


@dataclass(slots=True)
class Created:
    """What clients have been told, from several threads."""

    seconds: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    again: int = 0
    """Requests that were made again because the connection was closed."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, job: str, seconds: float) -> None:
        with self.lock:
            self.ids.append(job)
            self.seconds.append(seconds)


class Client:
    """One connection that is kept, and made again where the server has closed it."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.port = int(port)
        self._connection = http.client.HTTPConnection(host, self.port, timeout=120)
        self.again = 0

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        """With a key, a request that had no answer is the same one when it is made again."""
        return json.loads(self.text(path, method, body=body, key=key))

    def text(self, path: str, method: str = "GET", *, body: object = None, key: str = "") -> str:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        for left in reversed(range(TRIES)):
            try:
                self._connection.request(method, path, data, headers)
                answer = self._connection.getresponse()
                said = answer.read()
                break
            except (http.client.HTTPException, ConnectionError):
                self._connection.close()
                self.again += 1
                if not left:
                    raise
                time.sleep(0.05)
        assert answer.status < 300, f"{answer.status}: {said[:300]!r}"
        return said.decode()


def create(address: str, created: Created, *, count: int, seconds: float, pause: float) -> None:
    """One each `pause` seconds; a late answer counts against those that have to wait for it, too."""
    due = time.perf_counter()
    with closing(Client(address)) as client:
        for number in range(count):
            began = due if pause else time.perf_counter()
            time.sleep(max(0.0, due - time.perf_counter()))
            due += pause
            body = {"prompt": f"a red ball {number}", "seconds": str(seconds), "seed": number}
            job = client.ask("POST", "/v1/videos", body, key=f"{threading.get_ident()}-{number}")["id"]
            created.add(job, time.perf_counter() - began)
    with created.lock:
        created.again += client.again


def statuses(client: Client) -> dict[str, str]:
    """Of every job that the service lists."""
    found: dict[str, str] = {}
    after = ""
    while True:
        page = client.ask("GET", f"/v1/videos?limit={PAGE}&order=asc{after}")
        found |= {job["id"]: job["status"] for job in page["data"]}
        if not page["has_more"]:
            return found
        after = f"&after={page['data'][-1]['id']}"


def completed(client: Client) -> int:
    """How many are over, by the service's metrics."""
    counts = [line for line in client.text("/metrics").splitlines() if line.startswith("longtake_jobs_total{")]
    return round(sum(float(line.rpartition(" ")[2]) for line in counts))


def wait_for_all(client: Client, process: psutil.Process, *, count: int) -> list[int]:
    """The resident memory of the API process at every tenth of the jobs."""
    memory = [process.memory_info().rss]
    until = time.monotonic() + LIMIT
    while (over := completed(client)) < count:
        assert time.monotonic() < until, f"{over} of {count} jobs are over"
        while len(memory) <= over * 10 // count:
            memory.append(process.memory_info().rss)
        time.sleep(1.0 + count / 2000)
    memory.append(process.memory_info().rss)
    return memory


def run(count: int, *, clients: int, at_once: int, seconds: float, rate: float = 0.0) -> dict[str, object]:
    with TemporaryDirectory() as folder:
        options = ["--set", "preset=fast", "--set", f"preset_dir={PRESETS}", "--set", "random_weights=true"]
        options += ["--set", f"store_dir={folder}/store", "--set", f"max_jobs={at_once}", "--set", "disk_floor_bytes=0"]
        with running_service(*options) as address, closing(Client(address)) as client:
            process = listener_on(client.port)
            created, began = Created(), time.perf_counter()
            shares = [count // clients + (number < count % clients) for number in range(clients)]
            told = {"seconds": seconds, "pause": clients / rate if rate else 0.0}
            threads = [
                threading.Thread(target=create, args=(address, created), kwargs=told | {"count": share})
                for share in shares
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            creating = time.perf_counter() - began
            memory = wait_for_all(client, process, count=count)
            took = time.perf_counter() - began
            found = statuses(client)
    return _said(created, found, memory=memory, creating=creating, took=took)


def _said(
    created: Created, found: dict[str, str], *, memory: list[int], creating: float, took: float
) -> dict[str, object]:
    milliseconds = sorted(1000 * seconds for seconds in created.seconds)
    cuts = statistics.quantiles(milliseconds, n=100) if len(milliseconds) > 1 else milliseconds * 99
    return {
        "jobs": len(created.ids),
        "lost": len(set(created.ids) - set(found)),
        "doubled": len(found) - len(set(created.ids)),
        "statuses": dict(Counter(found.values())),
        "create_ms": {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1), "p99": round(cuts[98], 1)},
        "asked_again": created.again,
        "creates_per_second": round(len(created.ids) / creating, 1),
        "jobs_per_second": round(len(created.ids) / took, 2),
        "memory_mib": [round(size / 2**20) for size in memory],
        "load": [round(part, 1) for part in psutil.getloadavg()],
    }


def listener_on(port: int) -> psutil.Process:
    """The process that listens on a port of this machine."""
    for connection in psutil.net_connections("tcp"):
        if (
            connection.laddr
            and connection.laddr.port == port
            and connection.status == psutil.CONN_LISTEN
            and connection.pid
        ):
            return psutil.Process(connection.pid)
    raise AssertionError(f"nobody listens on {port}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=2, help="jobs in the engine")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of each video")
    parser.add_argument("--rate", type=float, default=10.0, help="creates a second; 0: as fast as they are answered")
    options = parser.parse_args()
    said = run(
        options.jobs,
        clients=options.clients,
        at_once=options.at_once,
        seconds=options.seconds,
        rate=options.rate,
    )
    print(json.dumps(said))


if __name__ == "__main__":
    main()
