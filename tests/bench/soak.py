"""A service used for long: `python -m tests.bench.soak --minutes 30`.

A server and its worker; sessions of half a minute come and go, with prompts and jobs, and connections that break now
and then. Invariant it holds: resident memory of both processes grows by less than 2 % from the end of the warm-up (a
fifth of the time) to the end. The last line is one JSON document.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.bench.chaos import Pace, Story, direct, drop
from tests.bench.deployment import Server, deployed
from tests.bench.queueing import Queueing
from tests.service.api.running import MEMORY

LIMIT = 0.02
WARM_UP = 0.2
EVERY = 2.0
PACE = Pace(drop=20.0, prompt=3.0, session=30.0)


@dataclass(slots=True)
class Memory:
    """Resident bytes of the API process and its worker, over time."""

    samples: list[tuple[float, int, int]] = field(default_factory=list)

    async def watch(self, server: Server) -> None:
        began = time.monotonic()
        assert server.process is not None
        (worker,) = server.workers()
        processes = [psutil.Process(server.process.pid), psutil.Process(worker)]
        while True:
            api, engine = (process.memory_info().rss for process in processes)
            self.samples.append((time.monotonic() - began, api, engine))
            await asyncio.sleep(EVERY)

    def growth(self, column: int) -> float:
        """From the fifth after the warm-up to the last fifth, by their medians: as a share."""
        values = [sample[column] for sample in self.samples]
        fifth = max(1, int(len(values) * WARM_UP))
        before, after = values[fifth : 2 * fifth] or values[:1], values[-fifth:]
        return statistics.median(after) / statistics.median(before) - 1.0


async def run(seconds: float, *, sessions: int = 4) -> dict[str, object]:
    story, memory = Story(), Memory()
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        # What is kept of ended sessions is bounded by time: it must not be what grows here.
        server = Server(Path(name), {"retain_hours": 0.01, "store_sweep_interval": 30, "resume_grace": 30})
        async with deployed([server]) as address:
            queueing = Queueing(address.port)
            until = time.monotonic() + seconds
            over = asyncio.Event()
            asking = asyncio.create_task(queueing.run(over))
            background = [
                asyncio.create_task(memory.watch(server)),
                asyncio.create_task(drop(address, story, PACE)),
            ]
            directing = [
                direct(address, story, PACE, draw=random.Random(number), until=until) for number in range(sessions)
            ]
            await asyncio.gather(*directing)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            over.set()
            await asking
    return {
        "minutes": round(seconds / 60, 1),
        "sessions": len(story.sessions),
        "prompts": len(story.switches),
        "jobs": len(queueing.accepted),
        "api_mib": round(memory.samples[-1][1] / 2**20, 1),
        "worker_mib": round(memory.samples[-1][2] / 2**20, 1),
        "api_growth": round(memory.growth(1), 4),
        "worker_growth": round(memory.growth(2), 4),
        "troubles": story.troubles,
        "load": os.getloadavg()[0],
    }


def right(figures: dict[str, object]) -> bool:
    """What the figures of a long run have to be."""
    growth = (figures["api_growth"], figures["worker_growth"])
    return not figures["troubles"] and all(isinstance(share, float) and share < LIMIT for share in growth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--sessions", type=int, default=4)
    options = parser.parse_args()
    figures = asyncio.run(run(60 * options.minutes, sessions=options.sessions))
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.exit(not right(figures))


if __name__ == "__main__":
    main()
