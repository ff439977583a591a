"""The demo preset by each fast path and near-lossless option: `python -m tests.bench.demo_paths --rounds 5`.

Processor time of one thread, which other work on the machine hardly touches: a block over a full window with its clean
pass, in turns, least and median of all. Engines are made one after the other and measured together. The last line is
one JSON document. Knows the engine only.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping
from statistics import median
from typing import Final

from models.generator import Generator
from models.journal import WeightedPrompt
from models.load import LoadOptions, load_engine
from models.lossy import Lossy
from models.speed import Speed
from models.stream import Stream

PROMPT: Final = "a red ball bounces over a grassy meadow by day"
WARM: Final = 5
FUSED: Final = Speed(fused="on")
LAST: Final = Speed(fused="on", channels_last="on")
WAYS: Final[Mapping[str, tuple[Speed, Lossy]]] = {
    "plain": (Speed(), Lossy()),
    "fused": (FUSED, Lossy()),
    "fused, channels last": (LAST, Lossy()),
    "last pass": (Speed(), Lossy(reuse_last_pass=True)),
    "two steps": (Speed(), Lossy(steps=(1000, 500))),
    "int8 keys and values": (Speed(), Lossy(kv_cache="int8")),
    "two short heads of three": (Speed(), Lossy(short_heads=2)),
    "window of nine": (Speed(), Lossy(window_frames=9)),
    "stagger": (Speed(), Lossy(stagger=0.5)),
    "fused, channels last, last pass": (LAST, Lossy(reuse_last_pass=True)),
    "fused, channels last, last pass, two short heads": (LAST, Lossy(reuse_last_pass=True, short_heads=2)),
    "fused, channels last, last pass, two steps": (LAST, Lossy(reuse_last_pass=True, steps=(1000, 500))),
}
COMPILED: Final[Mapping[str, tuple[Speed, Lossy]]] = {
    "compiled, channels last": (Speed(compile="on", channels_last="on"), Lossy()),
    "compiled, channels last, last pass": (Speed(compile="on", channels_last="on"), Lossy(reuse_last_pass=True)),
}


def begun(way: tuple[Speed, Lossy], preset: str) -> tuple[Generator, Stream]:
    """An engine and a stream of it whose window is full."""
    speed, lossy = way
    generator = load_engine(preset, LoadOptions(threads=1, speed=speed, lossy=lossy))
    stream = generator.start([WeightedPrompt(PROMPT)], seed=1)
    for _ in range(WARM):
        spent(generator, stream)
    return generator, stream


def spent(generator: Generator, stream: Stream) -> float:
    """Milliseconds of processor time of one block."""
    begin = time.process_time()
    generator.step(stream)
    generator.commit(stream)
    return 1000 * (time.process_time() - begin)


def measure(ways: Mapping[str, tuple[Speed, Lossy]], *, rounds: int, preset: str = "demo") -> dict[str, object]:
    """All ways in turns."""
    engines = {name: begun(way, preset) for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (generator, stream) in engines.items():
            times[name].append(spent(generator, stream))
    plain = next(iter(ways))
    return {
        name: {
            "least_ms": round(min(found), 1),
            "median_ms": round(median(found), 1),
            "gain": round(median(times[plain]) / median(found), 3),
            "cache_bytes": engines[name][0].facts().cache_bytes_per_stream,
        }
        for name, found in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--compile", action="store_true", help="the compiled ways, too: half a minute each")
    asked = parser.parse_args()
    ways = {**WAYS, **(COMPILED if asked.compile else {})}
    print(json.dumps({"ways": measure(ways, rounds=asked.rounds), "load_average": os.getloadavg()}))


if __name__ == "__main__":
    main()
