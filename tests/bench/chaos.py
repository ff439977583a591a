"""A service that is disturbed without pause: `python -m tests.bench.chaos --minutes 15`.

A server and its worker, four directed sessions one after the other, a prompt every 3 s in each, jobs all the time; a
worker is killed every minute and every connection is broken every 5 s, but not before each session has had a chunk
since the last time: a slow machine is disturbed more slowly, and the run has an end. At the end the invariants of
`invariants.py` hold, or the command fails with what does not. The last line is one JSON document.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from client.client import connect
from client.errors import ClientError
from client.switch import Switch
from tests.bench.deployment import HANG, Address, Server, deployed
from tests.bench.directed import OPTIONS, Watched
from tests.bench.invariants import check_all
from tests.bench.queueing import Queueing
from tests.service.api.running import MEMORY

CANARY = "zanzibar"
"""A word in every prompt that is to be in no log."""
WORDS = ("red ball", "blue sea", "green forest", "snowy night")
MODES = ("recache", "flush", "cut", "keep")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two of each kind."""

    kill: float = 60.0
    drop: float = 5.0
    prompt: float = 3.0
    session: float = 45.0
    """Of media, that one session lasts."""


@dataclass(slots=True)
class Story:
    """What was done and what came of it."""

    sessions: list[Watched] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    kills: int = 0
    drops: int = 0
    troubles: list[str] = field(default_factory=list)
    unbegun: int = 0
    """Connections that broke before their session began: there was nothing to come back to."""

    async def got_on(self, since: dict[int, int]) -> None:
        """Until each session that lives has had a chunk since then."""
        while any(len(one.numbers) <= since.get(id(one), 0) for one in self.living):
            await asyncio.sleep(0.05)

    @property
    def living(self) -> list[Watched]:
        return [one for one in self.sessions if one.session is not None and not one.done]

    @property
    def place(self) -> dict[int, int]:
        return {id(one): len(one.numbers) for one in self.living}


async def direct(address: Address, story: Story, pace: Pace, *, draw: random.Random, until: float) -> None:
    """One session after the other until the time is over; the last one to its end."""
    while time.monotonic() < until:
        watched = Watched(draw.randrange(2**31))
        story.sessions.append(watched)
        try:
            await _one(address, story, watched, pace=pace, draw=draw)
        except ClientError as error:
            watched.done = watched.done or "failed"
            if watched.session_id:
                story.troubles.append(f"{watched.session_id}: {error!r}")
            else:
                story.sessions.remove(watched)
                story.unbegun += 1


async def _one(address: Address, story: Story, watched: Watched, *, pace: Pace, draw: random.Random) -> None:
    async with connect(f"ws://127.0.0.1:{address.port}", OPTIONS) as session:
        info = await session.start(
            f"a {CANARY} in a meadow", model="fast", seed=watched.seed, pacing="realtime", max_seconds=pace.session
        )
        watched.session, watched.session_id = session, info.session_id
        prompting = asyncio.create_task(_prompt(watched, story, pace, draw=draw))
        try:
            async for chunk in session:
                watched.take(chunk)
        finally:
            prompting.cancel()
            await asyncio.gather(prompting, return_exceptions=True)
            watched.missing, watched.lost = session.missing, session.notices.reconnects
            watched.worker_restarts = session.notices.worker_restarts
            watched.done = session.done.reason if session.done is not None else ""


async def _prompt(watched: Watched, story: Story, pace: Pace, *, draw: random.Random) -> None:
    assert watched.session is not None
    while True:
        await asyncio.sleep(pace.prompt)
        text, mode = f"a {CANARY}, {draw.choice(WORDS)}", draw.choice(MODES)
        switch = await watched.session.prompt(text, mode=mode)  # type: ignore[arg-type]
        story.switches.append(switch)


async def kill(server: Server, story: Story, pace: Pace) -> None:
    while True:
        place = story.place
        await asyncio.sleep(pace.kill)
        await story.got_on(place)
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
            story.kills += 1


async def drop(address: Address, story: Story, pace: Pace) -> None:
    while True:
        place = story.place
        await asyncio.sleep(pace.drop)
        await story.got_on(place)
        story.drops += address.cut_all()


@asynccontextmanager
async def disturbing(server: Server, address: Address, story: Story, *, pace: Pace) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(kill(server, story, pace)), asyncio.create_task(drop(address, story, pace))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


async def run(seconds: float, *, sessions: int = 4, pace: Pace | None = None, seed: int = 0) -> dict[str, object]:
    pace, began, story = pace or Pace(), time.monotonic(), Story()
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        # A job is set aside after a few workers were lost under it: here it is not the job that kills them.
        server = Server(Path(name), {"drain_handover": "never", "worker_threads": 1, "job_losses": 100})
        async with deployed([server]) as address:
            queueing = Queueing(address.port)
            until = time.monotonic() + seconds
            over = asyncio.Event()
            async with asyncio.timeout(seconds + 4 * HANG), disturbing(server, address, story, pace=pace):
                asking = asyncio.create_task(queueing.run(over))
                directing = [
                    direct(address, story, pace, draw=random.Random(f"{seed} {number}"), until=until)
                    for number in range(sessions)
                ]
                await asyncio.gather(*directing)
                over.set()
                await asking
            await queueing.settle()
            faults = await check_all(server, story, queueing, canary=CANARY)
        restarts = sum(one.worker_restarts for one in story.sessions)
    return {
        "kills": story.kills,
        "dropped": story.drops,
        "sessions": len(story.sessions),
        "blocks": sum(len(one.numbers) for one in story.sessions),
        "unbegun": story.unbegun,
        "reconnected": sum(one.lost for one in story.sessions),
        "worker_restarts": restarts,
        "prompts": len(story.switches),
        "jobs": len(queueing.accepted),
        "faults": faults,
        "seconds": round(time.monotonic() - began, 1),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=60.0)
    options = parser.parse_args()
    pace = Pace(kill=options.kill_every)
    figures = asyncio.run(run(60 * options.minutes, sessions=options.sessions, pace=pace))
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.exit(bool(figures["faults"]))


if __name__ == "__main__":
    main()
