"""What the API process keeps of sessions that have ended: `python -m tests.bench.session_memory --rounds 14`.

The real app, store and sockets with a worker that computes nothing, in one process; a hundred sessions a round, each
with a prompt. Counts after each round what Python holds and what the C library has given out to Python, SQLite and all
else. The last line is one JSON document.
"""

import argparse
import asyncio
import json
import sys
import tracemalloc

from service.protocol.client import SessionInteraction, SessionStart, SessionStop
from service.protocol.server import ChunkMetadata, InteractionApplied, SessionDone
from tests.bench.allocated import allocated_bytes, one_arena
from tests.service.api.running import FAST, Running, running

SESSIONS = 100


async def live(service: Running) -> None:
    """One session from its start to its end, and a prompt on the way."""
    async with service.connection() as talk:
        await talk.say(SessionStart(prompt="a red ball", pacing="none"))
        await talk.hear_until(ChunkMetadata)
        await talk.say(SessionInteraction(event_id="e1", prompt="it bounces"))
        await talk.hear_until(InteractionApplied)
        await talk.say(SessionStop())
        await talk.hear_until(SessionDone)


async def run(rounds: int) -> list[dict[str, float]]:
    """Kilobytes after each round."""
    figures: list[dict[str, float]] = []
    async with running(FAST) as service:
        for number in range(rounds):
            for _ in range(SESSIONS):
                await live(service)
            service.worker.worker.commands.clear()  # what this worker notes down is not the product's
            everything = allocated_bytes()
            python, _ = tracemalloc.get_traced_memory()
            figures.append({"python_kb": python // 1000, "allocated_kb": everything // 1000})
            sys.stderr.write(f"round {number + 1}: {figures[-1]}\n")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=14)
    options = parser.parse_args()
    one_arena()
    tracemalloc.start(1)
    sys.stdout.write(json.dumps({"sessions": SESSIONS, "rounds": asyncio.run(run(options.rounds))}) + "\n")


if __name__ == "__main__":
    main()
