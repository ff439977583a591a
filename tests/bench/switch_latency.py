"""How long a new prompt takes to be seen: `python -m tests.bench.switch_latency`.

One session without a crowd: prompts at random moments, from sending to queued, applied, received and shown, in
milliseconds and in compute blocks (the median time the engine needed for a block in this very run). The last line is
one JSON document.
"""

import argparse
import asyncio
import json
import os
import random
from statistics import median
from typing import Any

from client.client import Session, connect
from client.load_report import percentiles
from client.switch import Switch
from service.protocol.client import Pacing, PromptMode
from tests.bench.switches import PROMPTS
from tests.serving import running_service

GAP_SECONDS = (1.5, 3.0)
STAGES = ("queued_ms", "applied_ms", "received_ms", "shown_ms")


async def follow(session: Session, blocks_ms: list[float]) -> None:
    async for chunk in session:
        timings = chunk.metadata.timings
        if not chunk.metadata.started_event_ids:
            blocks_ms.append(timings.text_ms + timings.denoise_ms + timings.clean_ms + timings.decode_ms)


async def measure(url: str, *, mode: PromptMode, count: int, pacing: Pacing) -> dict[str, Any]:
    draw = random.Random(1)
    switches: list[Switch] = []
    blocks_ms: list[float] = []
    async with connect(url) as session:
        await session.start(PROMPTS[0], seed=1, pacing=pacing)
        follower = asyncio.create_task(follow(session, blocks_ms))
        for number in range(count):
            await asyncio.sleep(draw.uniform(*GAP_SECONDS))
            switches.append(await session.prompt(PROMPTS[(number + 1) % len(PROMPTS)], mode=mode))
        await asyncio.sleep(GAP_SECONDS[1])
        await session.stop()
        await follower
    block_ms = median(blocks_ms)
    reports = [switch.report() for switch in switches]
    stages = {
        stage: percentiles([v for report in reports if (v := getattr(report, stage)) is not None]) for stage in STAGES
    }
    received = stages["received_ms"]
    assert received.p50 is not None, "no switch was received"
    assert received.p95 is not None, "no switch was received"
    return {
        "mode": mode,
        "pacing": pacing,
        "switches": count,
        "block_ms": round(block_ms, 1),
        "received_blocks_p50": round(received.p50 / block_ms, 2),
        "received_blocks_p95": round(received.p95 / block_ms, 2),
        **{stage: {"p50": found.p50, "p95": found.p95} for stage, found in stages.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    results = []
    with running_service() as address:
        for pacing in ("none", "realtime"):
            for mode in ("recache", "flush"):
                results.append(asyncio.run(measure(f"ws://{address}", mode=mode, count=options.count, pacing=pacing)))
    print(json.dumps({"load_average": os.getloadavg(), "results": results}))


if __name__ == "__main__":
    main()
