"""One slow reader beside quick ones, and many idle connections beside many streaming ones.

`python -m tests.bench.readers slow --policy drop` and `python -m tests.bench.readers many --idle 200 --streaming 50`,
against the real app with the fake worker at a steady rate. The rate without the slow reader is measured in the same
run. The last line is one JSON document.
"""

import argparse
import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from statistics import quantiles

import psutil

from service.api.app import REALTIME_PATH
from service.protocol import encode_message
from service.protocol.client import SessionPing, SessionStart, SlowConsumer
from service.protocol.server import ChunkMetadata, SessionPong
from tests.service.api.running import FAST, PATIENCE, Running, Talk, running
from tests.service.fakes import FRAMES_PER_BLOCK

SLOW_BYTES_PER_SECOND = 1000
SOCKET_BYTES = 64 * 1024
"""What may wait in a connection's own write buffer before it holds up the writer."""
START = SessionStart(prompt="a lighthouse", pacing="none")


@dataclass(frozen=True, slots=True)
class Peak:
    """The most media that waited for clients in outboxes, and the most bytes in one socket's write buffer."""

    outbox_bytes: int = 0
    socket_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SlowResult:
    """Gaps are 95th percentiles between two chunks of a quick reader; `ratio` is beside the slow one by alone."""

    policy: str
    gap_alone_ms: float
    gap_beside_ms: float
    ratio: float
    chunks_alone: int
    chunks_beside: int
    slow_made: int
    """Chunks that the worker made for the slow reader."""
    peak: Peak
    chunk_bytes: int


async def slow_reader(
    policy: SlowConsumer, *, seconds: float, quick: int = 4, frame_bytes: int = 1000, interval: float = 0.02
) -> SlowResult:
    config = FAST.model_copy(update={"max_sessions": quick + 1, "slow_consumer_timeout": 1.0, "control_queue": 1024})
    async with running(config, frame_bytes=frame_bytes, chunk_interval=interval) as service, AsyncExitStack() as stack:
        talks = await _streaming(service, quick, stack)
        known = set(service.worker.worker.sessions)
        alone = await _gaps(talks, seconds)
        async with _trickle(service, policy):
            watching = asyncio.create_task(_watch(service, seconds))
            beside = await _gaps(talks, seconds)
            peak = await watching
            sessions = service.worker.worker.sessions
            made = max((session.sequence for name, session in sessions.items() if name not in known), default=0)
        for talk in talks:
            talk.socket.transport.abort()
    first, second = quantiles(alone, n=20)[-1], quantiles(beside, n=20)[-1]
    return SlowResult(
        policy=policy,
        gap_alone_ms=round(first * 1000, 2),
        gap_beside_ms=round(second * 1000, 2),
        ratio=round(second / first, 3),
        chunks_alone=len(alone),
        chunks_beside=len(beside),
        slow_made=made,
        peak=peak,
        chunk_bytes=frame_bytes * FRAMES_PER_BLOCK,
    )


async def _streaming(service: Running, count: int, stack: AsyncExitStack) -> list[Talk]:
    """All at the same time: who came early must not have a store of chunks to read first."""
    talks = [await stack.enter_async_context(service.connection()) for _ in range(count)]

    async def begin(talk: Talk) -> None:
        await talk.say(START)
        await talk.hear_until(ChunkMetadata)

    await asyncio.gather(*(begin(talk) for talk in talks))
    return talks


async def _gaps(talks: Sequence[Talk], seconds: float) -> list[float]:
    """Times between chunks, over all readers."""
    gaps: list[float] = []

    async def read(talk: Talk) -> None:
        last, until = time.monotonic(), time.monotonic() + seconds
        while last < until:
            await talk.hear_until(ChunkMetadata)
            last, before = time.monotonic(), last
            gaps.append(last - before)

    async with asyncio.TaskGroup() as readers:
        for talk in talks:
            readers.create_task(read(talk))
    return gaps


async def _watch(service: Running, seconds: float) -> Peak:
    peak, until = Peak(), time.monotonic() + seconds
    while time.monotonic() < until:
        buffers = [protocol.transport.get_write_buffer_size() for protocol in service.server.server_state.connections]
        held = service.state.connections.waiting().bytes
        peak = Peak(max(peak.outbox_bytes, held), max(peak.socket_bytes, *buffers, 0))
        await asyncio.sleep(0.01)
    return peak


@asynccontextmanager
async def _trickle(service: Running, policy: SlowConsumer) -> AsyncIterator[None]:
    """A client that reads SLOW_BYTES_PER_SECOND, through buffers too small to hide it."""
    loop = asyncio.get_running_loop()
    with socket.socket() as plug:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plug.setblocking(False)
        await loop.sock_connect(plug, ("127.0.0.1", service.port))
        await loop.sock_sendall(plug, _handshake(service))
        await loop.sock_recv(plug, 1000)
        mine = plug.getsockname()[1]
        for protocol in service.server.server_state.connections:
            if protocol.transport.get_extra_info("peername")[1] == mine:
                other_end = protocol.transport.get_extra_info("socket")
                other_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        start = encode_message(START.model_copy(update={"slow_consumer": policy})).encode()
        await loop.sock_sendall(plug, b"\x81\xfe" + len(start).to_bytes(2, "big") + bytes(4) + start)

        async def read() -> None:
            while await loop.sock_recv(plug, SLOW_BYTES_PER_SECOND // 20):
                await asyncio.sleep(0.05)

        reading = asyncio.create_task(read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def _handshake(service: Running) -> bytes:
    lines = [
        f"GET {REALTIME_PATH} HTTP/1.1",
        f"Host: {service.authority}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True, slots=True)
class ManyResult:
    idle: int
    streaming: int
    chunks: int
    chunks_least: int
    """Of the streaming connection that got fewest."""
    gap_p50_ms: float
    gap_p95_ms: float
    idle_answered: int
    """Idle connections that answered a ping afterwards."""
    rss_bytes: int
    rss_growth_bytes: int
    cpu_share: float


async def many(*, idle: int, streaming: int, seconds: float, interval: float = 0.75) -> ManyResult:
    """`interval` is the time between two chunks of a session: 0.75 s is 12 frames at 16 a second."""
    config = FAST.model_copy(update={"max_sessions": streaming, "max_connections": 4096, "start_timeout": 600.0})
    process = psutil.Process()
    async with running(config, frame_bytes=3000, chunk_interval=interval) as service, AsyncExitStack() as stack:
        memory = process.memory_info().rss
        quiet = [await stack.enter_async_context(service.connection()) for _ in range(idle)]
        talks = await _streaming(service, streaming, stack)
        cpu, began = sum(process.cpu_times()[:2]), time.monotonic()
        counts = await asyncio.gather(*(_gaps([talk], seconds) for talk in talks))
        share = (sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
        answered = 0
        async with asyncio.timeout(PATIENCE):
            for talk in quiet:
                await talk.say(SessionPing(id="here"))
                answered += (await talk.hear()).message == SessionPong(id="here")
        rss = process.memory_info().rss
        for talk in [*talks, *quiet]:
            talk.socket.transport.abort()
    gaps = [gap for count in counts for gap in count]
    marks = quantiles(gaps, n=20)
    return ManyResult(
        idle=idle,
        streaming=streaming,
        chunks=len(gaps),
        chunks_least=min(len(count) for count in counts),
        gap_p50_ms=round(marks[9] * 1000, 1),
        gap_p95_ms=round(marks[18] * 1000, 1),
        idle_answered=answered,
        rss_bytes=rss,
        rss_growth_bytes=rss - memory,
        cpu_share=round(share, 3),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("slow", "many"))
    parser.add_argument("--policy", choices=("pause", "drop", "disconnect"), default="pause")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--idle", type=int, default=200)
    parser.add_argument("--streaming", type=int, default=50)
    options = parser.parse_args()
    if options.what == "slow":
        result: SlowResult | ManyResult = asyncio.run(slow_reader(options.policy, seconds=options.seconds))
    else:
        result = asyncio.run(many(idle=options.idle, streaming=options.streaming, seconds=options.seconds))
    sys.stdout.write(json.dumps(asdict(result)) + "\n")


if __name__ == "__main__":
    main()
