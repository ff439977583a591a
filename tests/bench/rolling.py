"""Rolling restarts under load: `python -m tests.bench.rolling --times 50` (`--servers 1` for one server on SQLite).

Two servers on one Postgres store behind one address, four live sessions and a queue of jobs; one server after the other
is told to end and started again. Invariants it holds: a server that is told to end does so with code 0; no frame of a
session and no prompt that waits for its second is lost, and every hash is that of the same session undisturbed; every
job that was accepted is done. The last line is one JSON document.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.deployment import Server, deployed
from tests.bench.directed import SCHEDULE, Watched, watch
from tests.bench.queueing import Queueing
from tests.service.api.running import MEMORY
from tests.service.store.postgres import postgres

LONGEST = 86_400.0


@contextlib.contextmanager
def servers_on_one_store(count: int, **settings: object) -> Iterator[list[Server]]:
    """On Postgres where there are several."""
    limits = {"max_seconds": LONGEST, **settings}
    with tempfile.TemporaryDirectory(dir=MEMORY) as name, contextlib.ExitStack() as stack:
        if count > 1:
            limits["store_url"] = stack.enter_context(postgres()).new_database()
        yield [Server(Path(name), dict(limits)) for _ in range(count)]


async def run(times: int, *, sessions: int = 4, count: int = 2, jobs: bool = True) -> dict[str, object]:
    began = time.monotonic()
    with servers_on_one_store(count) as servers:
        async with deployed(servers) as address:
            queueing = Queueing(address.port)
            over = asyncio.Event()
            asking = [asyncio.create_task(queueing.run(over))] if jobs else []
            everyone = [Watched(seed, schedule=SCHEDULE) for seed in range(sessions)]
            watching = [asyncio.create_task(watch(one, address.port, seconds=LONGEST)) for one in everyone]
            await asyncio.gather(*(one.more(2) for one in everyone))
            for number in range(times):
                await _restart(servers[number % count])
                await asyncio.gather(*(one.more(2) for one in everyone))
                sys.stderr.write(f"{number + 1} of {times} restarts, {[len(one.video) for one in everyone]} blocks\n")
            for one in everyone:
                assert one.session is not None
                await one.session.stop()
            await asyncio.gather(*watching)
            over.set()
            await asyncio.gather(*asking)
            await queueing.settle()
            different = await compare(everyone, address.port)
        exits = [code for server in servers for code in server.exits[:-1]]
    return {
        "restarts": times,
        "servers": count,
        "sessions": sessions,
        "blocks": sum(len(one.video) for one in everyone),
        "reconnected": sum(one.lost for one in everyone),
        "different": different,
        "missing": sum(one.missing + one.gaps for one in everyone),
        "prompts_lost": sum(one.prompts_lost for one in everyone),
        "exits": sorted(set(exits)),
        "jobs": len(queueing.accepted),
        "jobs_failed": queueing.failed,
        "answers_wrong": queueing.wrong,
        "seconds": round(time.monotonic() - began, 1),
        "load": os.getloadavg()[0],
    }


async def _restart(server: Server) -> None:
    await server.end()
    await server.start()
    await server.ready()


async def compare(everyone: list[Watched], port: int) -> int:
    """Blocks that are not as in the same session, undisturbed."""
    different = 0
    for one in everyone:
        alone = await _alone(one, port)
        pairs = zip(one.video, alone.video, strict=False)
        different += sum(mine != theirs for mine, theirs in pairs) + max(0, len(one.video) - len(alone.video))
    return different


async def _alone(one: Watched, port: int) -> Watched:
    """The same session as fast as it can be made; again where its prompts came too late for that."""
    while True:
        alone = Watched(one.seed, schedule=one.schedule)
        await watch(alone, port, seconds=one.seconds + 1.75, pacing="none")
        if not alone.given_late or one.given_late:
            return alone


def right(figures: dict[str, object]) -> bool:
    wrong = ("different", "missing", "prompts_lost", "jobs_failed", "answers_wrong")
    return not any(figures[name] for name in wrong) and figures["exits"] == [0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--sessions", type=int, default=4)
    options = parser.parse_args()
    figures = asyncio.run(run(options.times, sessions=options.sessions, count=options.servers))
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.exit(not right(figures))


if __name__ == "__main__":
    main()
