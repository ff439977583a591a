"""Many prompt switches over a mix of sessions: `python -m tests.bench.switches --switches 10000`.

The real service with the demo model (or any preset) on one worker, sessions at `--rate` prompts a second each. Every
accepted prompt must end in exactly one of applied, superseded, rejected, or the end of its session. The last line is
one JSON document, with the latencies of the first and of the last tenth.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import get_args

from client.client import Session, connect
from client.errors import ClientError, PromptSuperseded, RequestRefused
from client.requests import Media
from client.switch import Switch
from service.protocol.client import PromptMode
from tests.serving import running_service

PROMPTS = (
    "a red ball bounces over a grassy meadow by day",
    "a yellow star circles over the sea at sunset",
    "a purple box sways in the city at night",
    "an orange ball rests in the snow by day",
)
SETTLE_SECONDS = 60.0


@dataclass(slots=True)
class Tally:
    """What became of the prompts, and the milliseconds from sending to receiving of those that were shown."""

    ends: Counter[str] = field(default_factory=Counter)
    received_ms: list[float] = field(default_factory=list)


def end_of(switch: Switch) -> str:
    """The one way in which a prompt ended; `none` would be a fault of the service."""
    match switch.error:
        case None:
            return "applied" if switch.received_at is not None else "none"
        case PromptSuperseded():
            return "superseded"
        case RequestRefused(code=code):
            return f"rejected ({code})"
        case _:
            return "session ended"


async def direct(session: Session, count: int, *, rate: float, draw: random.Random) -> list[Switch]:
    switches = []
    modes: Sequence[PromptMode] = get_args(PromptMode)
    for _ in range(count):
        mode = draw.choice(modes)
        transition = 0 if mode == "cut" else draw.choice((0, 0, 1, 3))
        prompt = draw.choice(PROMPTS)
        switches.append(await session.prompt(prompt, mode=mode, transition_chunks=transition))
        await asyncio.sleep(1 / rate)
    return switches


async def one_session(url: str, count: int, *, rate: float, number: int) -> Tally:
    tally = Tally()
    async with connect(url) as session:
        await session.start(PROMPTS[0], seed=number, pacing="none", media=Media(quality=50))
        reader = asyncio.create_task(_drain(session))
        switches = await direct(session, count, rate=rate, draw=random.Random(number))
        async with asyncio.timeout(SETTLE_SECONDS):
            await asyncio.gather(*(_settled(switch) for switch in switches))
        await session.stop()
        await reader
    for switch in switches:
        tally.ends[end_of(switch)] += 1
        if switch.error is None and switch.received_at is not None:
            tally.received_ms.append(1000 * (switch.received_at - switch.sent_at))
    return tally


async def _drain(session: Session) -> None:
    async for _ in session:
        pass


async def _settled(switch: Switch) -> None:
    try:
        await switch.wait_received(SETTLE_SECONDS)
    except ClientError:
        return


async def run(url: str, *, sessions: int, switches: int, rate: float) -> dict[str, object]:
    started = time.monotonic()
    each = switches // sessions
    tallies = await asyncio.gather(*(one_session(url, each, rate=rate, number=n) for n in range(sessions)))
    ends = sum((tally.ends for tally in tallies), Counter[str]())
    tenths = [(tally.received_ms[: each // 10], tally.received_ms[-(each // 10) :]) for tally in tallies]
    return {
        "sessions": sessions,
        "switches": each * sessions,
        "seconds": round(time.monotonic() - started, 1),
        "ends": dict(ends),
        "received_ms_first_tenth": round(median(value for first, _ in tenths for value in first), 1),
        "received_ms_last_tenth": round(median(value for _, last in tenths for value in last), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--switches", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--rate", type=float, default=10.0, help="prompts a second of each session")
    options = parser.parse_args()
    with running_service("--set", f"max_sessions={options.sessions}") as address:
        result = asyncio.run(
            run(f"ws://{address}", sessions=options.sessions, switches=options.switches, rate=options.rate)
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
