"""What the service itself costs: `python -m tests.bench.service_cost`.

The frames a second that a client receives without pacing, as a share of what the bare engine makes, the engine on one
thread and one core in both cases and everything else on another core. Measured in turns in one run, medians compared.
The last line is one JSON document.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import time
from statistics import median

import psutil

from client.client import connect
from client.report import ChunkArrival, delivery_rate
from client.requests import Media
from models.journal import WeightedPrompt
from models.load import load_generator
from tests.bench.affinity import ENGINE_CORE, OTHER_CORE, pin_service, pin_this_process
from tests.serving import running_service

PROMPT = "a red ball bounces over a grassy meadow by day"
WARM_UP = 6


def bare_rate(preset: str, blocks: int) -> float:
    """Frames a second of the engine alone, in a process of its own."""
    pin_this_process(ENGINE_CORE)
    generator = load_generator(preset, threads=1)
    stream = generator.start([WeightedPrompt(PROMPT)], seed=1)
    frames, started = 0, 0.0
    for number in range(WARM_UP + blocks):
        if number == WARM_UP:
            frames, started = 0, time.monotonic()
        block = generator.step(stream)
        assert block is not None
        generator.commit(stream)
        frames += len(block.frames)
    return frames / (time.monotonic() - started)


async def served_rate(url: str, blocks: int) -> float:
    """Frames a second that a client receives."""
    arrivals = []
    async with connect(url) as session:
        await session.start(PROMPT, seed=1, pacing="none", media=Media())
        async for chunk in session:
            arrivals.append(ChunkArrival(chunk.received, chunk.pts, chunk.num_frames))
            if len(arrivals) == WARM_UP + blocks:
                await session.stop()
                break
    return delivery_rate(arrivals[WARM_UP:], arrivals[WARM_UP].received)


def measure(url: str, *, preset: str, rounds: int, blocks: int) -> dict[str, object]:
    bare, served = [], []
    spawn = multiprocessing.get_context("spawn")
    for _ in range(rounds):
        with spawn.Pool(1) as pool:
            bare.append(pool.apply(bare_rate, (preset, blocks)))
        served.append(asyncio.run(served_rate(url, blocks)))
    return {
        "bare_fps": [round(rate, 2) for rate in bare],
        "served_fps": [round(rate, 2) for rate in served],
        "share": round(median(served) / median(bare), 4),
        "load_average": os.getloadavg(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=60)
    options = parser.parse_args()
    with running_service("--preset", options.preset) as address:
        pin_this_process(OTHER_CORE)
        service = next(child for child in psutil.Process().children() if "service" in child.cmdline())
        pin_service(service.pid)
        result = measure(f"ws://{address}", preset=options.preset, rounds=options.rounds, blocks=options.blocks)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
