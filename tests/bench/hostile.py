"""A normal client while others attack: `python -m tests.bench.hostile [--seconds 10] [--scale 1.0]`.

The server (fake worker, real app) runs in a process of its own. What a normal client waits for, before and during each
attack: a connection and an answer (`GET /readyz` on a new socket), and a ping in a session that streams. Invariant: a
request that is not answered within `HANG` seconds, or refused, ends the run with an error. The last line is JSON.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from statistics import quantiles

import psutil
from websockets.asyncio.client import connect

from service.protocol.client import SessionPing, SessionStart
from service.protocol.server import SessionPong, VideoStart
from tests.bench.attacks import ATTACKS, Target, again_and_again
from tests.service.api.running import FAST, Talk, running

HANG = 60.0
SERVER = FAST.model_copy(
    update={"max_sessions": 256, "request_timeout": 2.0, "body_timeout": 2.0, "send_timeout": 5.0, "message_rate": 50.0}
).model_copy(update={"message_burst": 100, "max_sockets": 1024, "max_sockets_per_address": 512})


@dataclass(frozen=True, slots=True)
class Waits:
    """Milliseconds that a normal client waited: a request on a new socket, and a ping within its session."""

    requests: int
    request_p50: float
    request_p95: float
    request_max: float
    pings: int
    ping_p95: float


@dataclass(frozen=True, slots=True)
class Result:
    attack: str
    attackers: int
    before: Waits
    during: Waits
    open_sockets: int
    """Of the server, at the end of the attack."""
    server_mib: float


async def serve() -> None:
    """The server's process: its port on a line, then until standard input ends; a line is answered with figures."""
    async with running(SERVER, frame_bytes=2000, chunk_interval=0.01) as service:
        print(service.port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(len(service.state.sockets), flush=True)


@dataclass(slots=True)
class Server:
    process: asyncio.subprocess.Process
    port: int

    async def sockets(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        return int(await asyncio.wait_for(self.process.stdout.readline(), HANG))

    @property
    def mib(self) -> float:
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.hostile", "--serve"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield Server(process, int(await asyncio.wait_for(process.stdout.readline(), HANG)))
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), HANG)
        except TimeoutError:
            process.kill()


async def _request(port: int) -> float:
    """Seconds from nothing to an answer, which has to be 200."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        assert b" 200 " in line, f"a normal client was not served: {line!r}"
        await reader.read()
    finally:
        writer.close()
    return time.monotonic() - began


async def _ping(talk: Talk, mark: str) -> float:
    began = time.monotonic()
    await talk.say(SessionPing(id=mark))
    await talk.hear_until(SessionPong)
    return time.monotonic() - began


async def measure(talk: Talk, port: int, *, seconds: float) -> Waits:
    """A request and a ping, one after the other, for so long and at least ten times."""
    requests: list[float] = []
    pings: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(requests) < 10:
        async with asyncio.timeout(HANG):
            requests.append(await _request(port))
            pings.append(await _ping(talk, str(len(pings))))
        await asyncio.sleep(0.02)
    return Waits(
        requests=len(requests),
        request_p50=round(1000 * sorted(requests)[len(requests) // 2], 1),
        request_p95=round(1000 * quantiles(requests, n=20)[-1], 1),
        request_max=round(1000 * max(requests), 1),
        pings=len(pings),
        ping_p95=round(1000 * quantiles(pings, n=20)[-1], 1),
    )


async def attacked(name: str, found: Server, *, seconds: float, scale: float) -> Result:
    """One attack, beside a normal client that has a session all the time."""
    attack, most = ATTACKS[name]
    count = max(1, round(most * scale))
    async with connect(f"ws://127.0.0.1:{found.port}/v1/realtime/video", max_size=None) as socket:
        talk = Talk(socket)
        await talk.say(SessionStart(prompt="a lighthouse", pacing="none"))
        await talk.hear_until(VideoStart)
        before = await measure(talk, found.port, seconds=seconds)
        # 500 sockets of an address: all that one may have, so that the sum is more than the server takes.
        targets = [Target("127.0.0.1", found.port, f"127.0.0.{2 + number // 500}") for number in range(count)]
        tasks = [asyncio.create_task(again_and_again(attack, target)) for target in targets]
        try:
            await asyncio.sleep(min(seconds, 3.0))
            during = await measure(talk, found.port, seconds=seconds)
            open_sockets = await found.sockets()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Result(name, count, before, during, open_sockets, round(found.mib, 1))


async def run(names: list[str], *, seconds: float, scale: float) -> list[Result]:
    results = []
    async with server() as found:
        for name in names:
            results.append(await attacked(name, found, seconds=seconds, scale=scale))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the attackers")
    parser.add_argument("--attack", action="append", choices=sorted(ATTACKS))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    if options.serve:
        asyncio.run(serve())
        return
    names = options.attack or list(ATTACKS)
    results = asyncio.run(run(names, seconds=options.seconds, scale=options.scale))
    for result in results:
        before, during = result.before, result.during
        print(
            f"{result.attack:<14} {result.attackers:>5}"
            f"  request p95 {before.request_p95:>7} -> {during.request_p95:>7} ms"
            f"  ping p95 {before.ping_p95:>7} -> {during.ping_p95:>7} ms"
            f"  sockets {result.open_sockets}  {result.server_mib} MiB"
        )
    load = os.getloadavg()[0]
    print(json.dumps({"load": load, "results": [asdict(result) for result in results]}))


if __name__ == "__main__":
    main()
