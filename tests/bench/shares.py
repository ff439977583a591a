"""More sessions than memory allows, for a minute: `python -m tests.bench.shares --sessions 32 --places 4 --seconds 60`.

The real app, supervisor and worker process with the demo model's architecture (random weights), and a memory budget
with room for so many streams. Invariants it holds: every session gets on, none by more than a fifth of its share less
or more than another; each has the very chunks of its lone run. The last line is one JSON document.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field

from service.config import ServiceConfig
from service.protocol.client import SessionStart, SessionStop
from service.protocol.server import ChunkMetadata, ErrorMessage, SessionDone
from tests.bench.survival import CONFIG, Service, serving

SPREAD = 0.2
"""Of the mean share: how far a session may be from it."""


@dataclass(slots=True)
class Progress:
    """What came for one session."""

    seed: int
    hashes: list[str] = field(default_factory=list)
    counted: int = 0
    """Chunks that had come when the time was up."""


async def budget_for(places: int, config: ServiceConfig) -> int:
    """Bytes for the model and so many streams, by the worker's own plan."""
    async with serving(config) as service:
        assert service.client.facts is not None
        plan = service.client.facts.plan
        assert plan is not None
        model = plan.weights_bytes + plan.text_encoder_bytes + plan.codec_bytes + plan.workspace_bytes
        return model + places * plan.stream_bytes + plan.stream_bytes // 2


async def follow(service: Service, progress: Progress, *, stop: asyncio.Event, chunks: int | None = None) -> None:
    """One session until it is told to stop, or has so many chunks."""
    start = SessionStart(prompt="a red ball in a meadow", seed=progress.seed, format="raw", pacing="none")
    async with service.connection() as talk:
        await talk.say(start)
        stopping = False
        while True:
            message = (await talk.hear_until(ChunkMetadata, SessionDone, ErrorMessage))[-1].message
            if isinstance(message, SessionDone):
                return
            assert isinstance(message, ChunkMetadata), message
            progress.hashes.append(message.frames_sha256)
            if not stopping and (stop.is_set() or len(progress.hashes) == chunks):
                stopping = True
                await talk.say(SessionStop())


async def run(sessions: int, places: int, *, seconds: float) -> dict[str, float]:
    """Raises AssertionError where one is left behind or is made differently."""
    budget = await budget_for(places, CONFIG)
    config = CONFIG.model_copy(update={"max_sessions": sessions, "memory_budget_bytes": budget, "max_seconds": 36000.0})
    together = [Progress(seed) for seed in range(sessions)]
    async with serving(config) as service:
        assert service.client.facts is not None
        room = service.client.facts.max_streams
        stop = asyncio.Event()
        tasks = [asyncio.create_task(follow(service, progress, stop=stop)) for progress in together]
        while min(len(progress.hashes) for progress in together) < 1:
            assert not any(task.done() for task in tasks), "a session ended early"
            await asyncio.sleep(0.05)
        first = [len(progress.hashes) for progress in together]
        began = time.monotonic()
        await asyncio.sleep(seconds)
        for progress, before in zip(together, first, strict=True):
            progress.counted = len(progress.hashes) - before
        took = time.monotonic() - began
        stop.set()
        await asyncio.gather(*tasks)
        for progress in together:
            alone = Progress(progress.seed)
            await follow(service, alone, stop=asyncio.Event(), chunks=len(progress.hashes))
            same = alone.hashes[: len(progress.hashes)] == progress.hashes
            assert same, f"session {progress.seed} is not as alone"
    shares = [progress.counted for progress in together]
    mean = sum(shares) / sessions
    furthest = max(abs(share - mean) for share in shares)
    # A block is the unit: on few blocks, one more or less is not a share taken from another.
    assert furthest <= max(SPREAD * mean, 1.0), f"shares from {min(shares)} to {max(shares)} blocks"
    return {
        "sessions": sessions,
        "places": room,
        "seconds": round(took, 1),
        "blocks": sum(shares),
        "fewest": min(shares),
        "most": max(shares),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=32)
    parser.add_argument("--places", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    figures = asyncio.run(run(options.sessions, options.places, seconds=options.seconds))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
