"""Prints the tables of sizes in deploy/README.md: `python deploy/sizing.py`. All of it is arithmetic, on figures below.

Knows no engine and no machine. Each figure says whether it was measured, and where; a test holds the page against what
this prints. Waiting is Erlang's formula for callers who wait their turn, with sessions of exponential length.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK_SECONDS = 0.75
"""Media in a block: 12 frames at 16 a second."""
SESSION_SECONDS = 300.0
LOAD = 0.8
"""Share of the places that is taken on average."""
LATENT_MEGABYTES = 0.6
"""Latents of a block at 480x832."""
JPEG_MEGABYTES = 0.75
"""Frames of a block at 480x832 as JPEG of quality 85: 12 of about 60 kB."""
FRAGMENT_MEGABYTES = 0.19
"""The same block as one H.264 fragment at 2 Mbit/s."""
SESSIONS_AN_API = 500
"""One API process: 50 streams and 200 idle sockets took 7 % of a core (tests/bench/RESULTS.md), rounded down."""


@dataclass(frozen=True, slots=True)
class Engine:
    """`block`: seconds of the device for one block with all that belongs to it."""

    name: str
    block: float
    source: str

    @property
    def places(self) -> int:
        return max(1, math.floor(BLOCK_SECONDS / self.block))


ENGINES = (
    Engine("`demo`, one thread of an EPYC", 0.145, "measured: 145 ms a block, tests/bench/RESULTS.md"),
    Engine("1.3B, tiny decoder, as published", 0.580, "20.7 frames a second published for the transformer on an H100"),
    Engine("1.3B, tiny decoder, our aim", 0.316, "38 frames a second aimed at; not measured, no GPU was at hand"),
    Engine("1.3B, full decoder, our aim", 0.545, "22 frames a second aimed at; not measured"),
)
FLEETS = (1, 8, 64, 1024)


def waits(places: int, load: float) -> float:
    """The share of sessions that find no free place (Erlang C)."""
    offered = places * load
    blocked = 1.0
    for number in range(1, places + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - load * (1 - blocked))


def mean_wait(places: int, load: float) -> float:
    """Seconds that sessions wait for a place, those included that find one at once."""
    return waits(places, load) * SESSION_SECONDS / (places * (1 - load))


def engine_rows() -> Iterator[str]:
    yield "| engine | seconds a block | live sessions at 16 fps | from |"
    yield "| --- | --- | --- | --- |"
    for engine in ENGINES:
        yield f"| {engine.name} | {engine.block:.3f} | {engine.places} | {engine.source} |"


def fleet_rows(places_each: int) -> Iterator[str]:
    yield "| GPUs | places | have to wait | mean wait | chunks/s | latents | JPEG out | H.264 out | API processes |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for gpus in FLEETS:
        places = gpus * places_each
        taken = places * LOAD
        chunks = taken / BLOCK_SECONDS
        cells = [
            f"{gpus:,}",
            f"{places:,}",
            f"{waits(places, LOAD):.1%}",
            f"{mean_wait(places, LOAD):.1f} s",
            f"{chunks:,.0f}",
            f"{chunks * LATENT_MEGABYTES:,.1f} MB/s",
            f"{chunks * JPEG_MEGABYTES * 8:,.0f} Mbit/s",
            f"{chunks * FRAGMENT_MEGABYTES * 8:,.0f} Mbit/s",
            f"{max(1, math.ceil(taken / SESSIONS_AN_API))}",
        ]
        yield f"| {' | '.join(cells)} |"


def tables() -> dict[str, str]:
    """The tables by the names under which the page has them."""
    return {"engines": "\n".join(engine_rows()), "fleets": "\n".join(fleet_rows(ENGINES[2].places))}


if __name__ == "__main__":
    for name, table in tables().items():
        sys.stdout.write(f"<!-- {name} -->\n{table}\n\n")
