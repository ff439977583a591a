"""Batch jobs asked for all the time, for commands that disturb a service: each that was accepted has to be done.

It knows the REST routes; nothing of processes. Invariants: a job counts as accepted once its answer has come; a
question without an answer is asked again under the same idempotency key; what was refused for now counts for nothing.
"""

import asyncio
import contextlib
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from tests.bench.deployment import HANG

BETWEEN = 3.0


@dataclass(slots=True)
class Queueing:
    """`port` of the address. `failed` are jobs that were accepted and are not done at the end; `wrong` answers."""

    port: int
    accepted: list[str] = field(default_factory=list)
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def ask(self, path: str, body: dict[str, object] | None = None, *, key: str = "") -> tuple[int, dict[str, object]]:
        """Status and answer; status 0: no answer came."""
        data = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, head)
        try:
            with urllib.request.urlopen(request, timeout=HANG) as answer:
                return int(answer.status), json.load(answer)
        except urllib.error.HTTPError as error:
            return int(error.code), {"said": error.read().decode("utf-8", "replace")[:500]}
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}

    async def run(self, over: asyncio.Event) -> None:
        """Until it is over; what was asked then has its answer."""
        number = 0
        while not over.is_set():
            number += 1
            await self._one(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BETWEEN):
                    await over.wait()

    async def _one(self, number: int) -> None:
        body: dict[str, object] = {"model": "fast", "prompt": f"a boat, {number}", "seconds": "2", "seed": number}
        async with asyncio.timeout(2 * HANG):
            while True:
                status, answer = await asyncio.to_thread(self.ask, "/v1/videos", body, key=f"boat-{number}")
                if status:
                    break
                await asyncio.sleep(0.2)
        if status in (200, 201, 202):
            self.accepted.append(str(answer["id"]))
        elif status in (429, 503):
            self.refused += 1
        else:
            self.wrong.append(f"{status} {answer}")

    async def settle(self) -> None:
        """Until every job that was accepted is done, or has failed."""
        async with asyncio.timeout(2 * HANG):
            for job in self.accepted:
                while (state := await self._state(job)) in ("", "queued", "in_progress"):
                    await asyncio.sleep(0.5)
                if state != "completed":
                    self.failed.append(f"{job} {state}")

    async def _state(self, job: str) -> str:
        status, answer = await asyncio.to_thread(self.ask, f"/v1/videos/{job}")
        if status == 404:
            return "gone"
        return str(answer.get("status", "")) + (f" {answer['error']}" if answer.get("error") else "")
