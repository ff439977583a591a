"""Connections that are cut at random bytes: `python -m tests.bench.drops --drops 1000 --races 1000`.

The client, over a relay that cuts each connection after a random number of bytes in either direction, against the real
app with the fake worker. Invariants it holds: every chunk that the store has comes, once, in order, with its hash; a
race (a new connection before the server knows that the old one is gone) ends the same. The last line is one JSON
document.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field

from tqdm import tqdm

from client.client import connect
from client.connection import ClientOptions
from tests.service.api.running import PATIENT, Running, running

OPTIONS = ClientOptions(reconnect_delay=0.001, reconnect_delay_max=0.01, open_timeout=60.0)
CONFIG = PATIENT.model_copy(update={"max_connections": 4096})
START_BYTES = 6000
"""What the handshake and the beginning of a session need at most, from the server."""


@dataclass(slots=True)
class Relay:
    """Passes bytes on until `budget` of them went; then both ends are gone, or only the client's if `half_open`."""

    target: int
    chooser: random.Random
    half_open: bool = False
    port: int = 0
    cuts: int = 0
    enough: int = 0
    """After so many cuts it is quiet, and cuts nothing more."""
    quiet: bool = False
    first: bool = True
    held: list[asyncio.StreamWriter] = field(default_factory=list)
    """Ends that the server still takes for alive."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        budget = self.chooser.randrange(1, 20_000)
        if self.first:
            self.first, budget = False, budget + START_BYTES
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        left = [budget]
        ways = [
            asyncio.create_task(self._pass(reader, back, left)),
            asyncio.create_task(self._pass(there, writer, left)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self.cuts += left[0] <= 0
        self.quiet = self.cuts >= self.enough
        _drop(writer)
        if self.half_open and left[0] <= 0:
            self.held.append(back)
        else:
            _drop(back)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, left: list[int]) -> None:
        with suppress(ConnectionError):
            while (left[0] > 0 or self.quiet) and (data := await source.read(4096)):
                target.write(data if self.quiet else data[: left[0]])
                left[0] -= 0 if self.quiet else len(data)
                await target.drain()

    def let_go(self) -> None:
        while self.held:
            _drop(self.held.pop())


def _drop(end: asyncio.StreamWriter) -> None:
    end.transport.abort()
    end.close()


@asynccontextmanager
async def relayed(relay: Relay) -> AsyncIterator[Relay]:
    server = await asyncio.start_server(relay.handle, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        relay.let_go()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    cuts: int
    races: int
    sessions: int
    chunks: int
    missing: int
    twice: int
    wrong: int
    seconds: float

    @property
    def right(self) -> bool:
        return self.missing == self.twice == self.wrong == 0


@dataclass(slots=True)
class Tally:
    sessions: int = 0
    chunks: int = 0
    missing: int = 0
    twice: int = 0
    wrong: int = 0


async def watch(service: Running, relay: Relay, tally: Tally, *, cuts: int) -> None:
    """One session that is watched until so many connections were cut, and then to its end over one that is not."""
    relay.first, relay.quiet, relay.enough, stopped = True, False, relay.cuts + cuts, False
    received: list[tuple[int, str]] = []
    async with connect(f"ws://127.0.0.1:{relay.port}", OPTIONS) as session:
        info = await session.start("a lighthouse", seed=5, pacing="none")
        async for chunk in session:
            received.append((chunk.sequence, chunk.frames_sha256))
            if relay.quiet and not stopped:
                stopped = True
                await session.stop()
    stored = [(row.sequence, row.frames_sha256) for row in await service.store.chunks(info.session_id)]
    numbers = [number for number, _ in received]
    tally.sessions += 1
    tally.chunks += len(received)
    tally.missing += session.missing + len(set(range(numbers[-1] + 1)) - set(numbers))
    tally.twice += session.duplicated + len(numbers) - len(set(numbers))
    tally.wrong += sum(one != other for one, other in zip(received, stored, strict=False))
    relay.let_go()


async def run(drops: int, races: int, *, seed: int = 0, cuts_each: int = 50) -> Outcome:
    tally, started = Tally(), time.monotonic()
    chooser = random.Random(seed)
    async with (
        running(CONFIG, frame_bytes=100) as service,
        relayed(Relay(service.port, chooser)) as plain,
        relayed(Relay(service.port, chooser, half_open=True)) as torn,
    ):
        with tqdm(total=drops + races, file=sys.stderr, disable=drops + races < 200) as bar:
            for relay, wanted in ((plain, drops), (torn, races)):
                while relay.cuts < wanted:
                    before = relay.cuts
                    await watch(service, relay, tally, cuts=min(cuts_each, wanted - relay.cuts))
                    bar.update(relay.cuts - before)
    return Outcome(cuts=plain.cuts, races=torn.cuts, seconds=round(time.monotonic() - started, 1), **asdict(tally))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drops", type=int, default=1000)
    parser.add_argument("--races", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    outcome = asyncio.run(run(arguments.drops, arguments.races, seed=arguments.seed))
    print(json.dumps(asdict(outcome)))
    sys.exit(not outcome.right)


if __name__ == "__main__":
    main()
