"""Requests of every kind the document allows, and others: `python -m tests.bench.rest_fuzz --requests 10000`.

Schemathesis draws the requests from `/openapi.json`; a hypothesis state machine sends them in any order to a real
server (fake worker), with the names of objects that earlier answers gave. Invariants it holds: no 500, 502 or 504; 429,
503 and 507 say when to come back; every answer is one that the document has, in its shape; none takes longer than
`HANG` seconds. The last line is JSON.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import PIPE, Popen
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.api.running import FAST, running
from tests.service.store.values import fill

HANG = 60.0
STEPS = 50
BUSY = (429, 503, 507)
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
SERVER = FAST.model_copy(
    update={
        "max_wait": 0.05,
        "event_keepalive": 0.2,
        "recording_timeout": 0.5,
        "max_sockets_per_address": 4096,
        "max_queued_jobs": 200,
    }
)
# A stream of events of a job that waits has no end.
ENDLESS = ("/v1/videos/{video}/events",)
# Starting a process for each request would measure that, and nothing of what comes in.
LEFT_OUT = ("/v1/sessions/{session}/recording",)
SESSIONS = tuple(f"seed-{number}" for number in range(200))
"""Sessions that have ended, of which requests make forks, and which they delete."""
NAMES = {"video": "video_", "batch": "batch_", "session": ""}


@dataclass(slots=True)
class Tally:
    requests: int = 0
    wrong: int = 0
    """Requests that the document does not allow."""
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = ""


async def serve() -> None:
    """The server's process: its address on a line, then until standard input ends."""
    async with running(SERVER, frame_bytes=4) as service:
        for name in SESSIONS:
            await fill(service.store, name, 3)
            await service.store.end_session(name, "stopped")
        print(f"http://{service.authority}", flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def server() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.bench.rest_fuzz", "--serve"]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
            assert process.poll() is None, "the server has ended"
        finally:
            process.stdin.close()
            process.wait(HANG)


class Rest(RuleBasedStateMachine):
    """`address`, `operations` and `tally` are those of the run."""

    address: str
    operations: list[Any]
    tally: Tally

    def __init__(self) -> None:
        super().__init__()
        self.session = requests.Session()
        self.known: defaultdict[str, list[str]] = defaultdict(list, {"session": list(SESSIONS)})

    def teardown(self) -> None:
        self.session.close()

    @rule(data=st.data())
    def asks(self, data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(self.operations))
        # What the document does not allow, too, where an operation can be asked wrongly at all.
        wrong = data.draw(st.integers(0, 3)) == 0 and (operation.body or operation.query)
        mode = GenerationMode.NEGATIVE if wrong else GenerationMode.POSITIVE
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if wrong:
            self.tally.wrong += 1
        for name in re.findall(r"\{(\w+)\}", operation.path):
            names = self.known[name] + [f"{NAMES.get(name, '')}{uuid.UUID(int=0).hex}"]
            if data.draw(st.integers(0, 9)) < 8:
                case.path_parameters[name] = data.draw(st.sampled_from(names))
        self.send(case, f"{operation.method.upper()} {operation.path}", endless=operation.path in ENDLESS)

    def send(self, case: Any, name: str, *, endless: bool) -> None:
        tally, began = self.tally, time.monotonic()
        arguments = case.as_transport_kwargs(base_url=self.address)
        answer = self.session.request(**arguments, timeout=HANG, stream=endless, allow_redirects=False)
        took = time.monotonic() - began
        tally.requests += 1
        tally.statuses[answer.status_code] += 1
        tally.operations[name] += 1
        if took > tally.slowest_s:
            tally.slowest_s, tally.slowest = took, name
        assert answer.status_code not in (500, 502, 504), f"{name}: {answer.status_code}"
        if answer.status_code in BUSY:
            assert "Retry-After" in answer.headers, f"{name}: {answer.status_code}"
        if endless and answer.status_code == 200:
            answer.close()
            return
        case.validate_response(answer, checks=CHECKS, excluded_checks=[not_a_server_error])
        self.remember(answer)

    def remember(self, answer: requests.Response) -> None:
        if "json" not in answer.headers.get("Content-Type", "") or not answer.content:
            return
        body = answer.json()
        if answer.status_code >= 400:
            self.tally.codes[body.get("code", "?")] += 1
            return
        for found in [body, *(body.get("data", []) if isinstance(body, dict) else [])]:
            kind = found.get("object") if isinstance(found, dict) else None
            if kind in NAMES and found.get("id"):
                self.known[kind] = [*self.known[kind][-199:], found["id"]]


def fuzz(count: int, *, address: str) -> Tally:
    """At least so many requests."""
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    found: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    kept = [operation for operation in found if operation.path not in LEFT_OUT]
    tally = Tally()
    machine = type("Run", (Rest,), {"address": address, "operations": kept, "tally": tally})
    while tally.requests < count:
        examples = max(1, (count - tally.requests) // STEPS)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=min(examples, 50),
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    began = time.monotonic()
    with server() as address:
        tally = fuzz(options.requests, address=address)
    result = {
        "requests": tally.requests,
        "wrong": tally.wrong,
        "operations": len(tally.operations),
        "statuses": dict(sorted(tally.statuses.items())),
        "codes": dict(tally.codes.most_common()),
        "slowest_s": round(tally.slowest_s, 2),
        "slowest": tally.slowest,
        "seconds": round(time.monotonic() - began, 1),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
