"""Many viewers of one session: `python -m tests.bench.viewers --viewers 200 --seconds 20`.

The real app in this process with the fake worker, which makes JPEG-sized frames at 16 a second; the viewers are in
processes of their own, so that what this process uses is the API's share. Invariant it holds: every viewer hears every
chunk from its first on. The last line is one JSON document.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

import psutil
from websockets.asyncio.client import connect

from service.protocol.client import SessionJoin, SessionStart, SessionStop
from service.protocol.server import ChunkMetadata, SessionDone, VideoStart
from tests.service.api.running import PATIENT, Talk, running
from tests.service.fakes import FPS, FRAMES_PER_BLOCK

PROCESSES = 4
BLOCK_SECONDS = FRAMES_PER_BLOCK / FPS


@dataclass(frozen=True, slots=True)
class Figures:
    viewers: int
    seconds: float
    chunks_each: float
    api_cores: float
    """Processor time of this process per second: the API, the store and the fake worker."""
    sent_megabytes_per_second: float
    missing: int
    dropped: int
    rss_growth_bytes: int


async def watch(url: str, session: str, count: int) -> tuple[int, int, int, int]:
    """Chunks and bytes that so many viewers heard, how many were missing, and how many came without frames."""

    async def one() -> tuple[int, int, int, int]:
        chunks = size = missing = dropped = 0
        async with connect(url, max_size=None) as socket:
            talk = Talk(socket, patience=600.0)
            await talk.say(SessionJoin(session_id=session, slow_consumer="drop"))
            start = (await talk.hear_until(VideoStart))[-1].message
            assert isinstance(start, VideoStart)
            due = start.next_sequence
            while isinstance(message := (await talk.hear_until(ChunkMetadata, SessionDone))[-1].message, ChunkMetadata):
                missing += message.sequence - due
                dropped += message.dropped_frames > 0
                due, chunks, size = message.sequence + 1, chunks + 1, size + message.byte_length
        return chunks, size, missing, dropped

    heard = await asyncio.gather(*(one() for _ in range(count)))
    chunks, size, missing, dropped = (sum(column) for column in zip(*heard, strict=True))
    return chunks, size, missing, dropped


async def run(viewers: int, seconds: float, *, frame_bytes: int = 2600) -> Figures:
    config = PATIENT.model_copy(update={"max_connections": viewers + 8, "stats_interval": 1.0})
    process = psutil.Process()
    async with (
        running(config, frame_bytes=frame_bytes, chunk_interval=BLOCK_SECONDS) as service,
        service.connection() as talk,
    ):
        await talk.say(SessionStart(prompt="a lighthouse", pacing="none", slow_consumer="drop"))
        start = (await talk.hear_until(VideoStart))[-1].message
        assert isinstance(start, VideoStart)
        reading = asyncio.create_task(talk.hear_until(SessionDone))
        crowd = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.bench.viewers", "--url", service.url),
                *("--session", start.session_id, "--viewers", str(viewers // PROCESSES)),
                stdout=asyncio.subprocess.PIPE,
            )
            for _ in range(PROCESSES)
        ]
        async with asyncio.timeout(600):
            while service.state.hubs.viewers < viewers // PROCESSES * PROCESSES:
                await asyncio.sleep(0.05)
        memory, used, began = process.memory_info().rss, process.cpu_times(), time.monotonic()
        await asyncio.sleep(seconds)
        now, elapsed = process.cpu_times(), time.monotonic() - began
        growth = process.memory_info().rss - memory
        await talk.say(SessionStop())
        await reading
        heard = [json.loads((await one.communicate())[0]) for one in crowd]
    chunks, size, missing, dropped = (sum(column) for column in zip(*heard, strict=True))
    count = viewers // PROCESSES * PROCESSES
    cores = (now.user + now.system - used.user - used.system) / elapsed
    rate = size / max(chunks, 1) * count / BLOCK_SECONDS / 1e6
    return Figures(
        viewers=count,
        seconds=round(elapsed, 1),
        chunks_each=round(chunks / count, 1),
        api_cores=round(cores, 3),
        sent_megabytes_per_second=round(rate, 2),
        missing=missing,
        dropped=dropped,
        rss_growth_bytes=growth,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--session", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url:
        sys.stdout.write(json.dumps(asyncio.run(watch(options.url, options.session, options.viewers))) + "\n")
        return
    figures = asyncio.run(run(options.viewers, options.seconds))
    sys.stdout.write(json.dumps(asdict(figures)) + "\n")


if __name__ == "__main__":
    main()
