"""Stored sessions, directed at random and made again: `python -m tests.bench.replays --count 1000`.

A schedule is a list of moves (prompts, blends, cuts, rewinds, forks, take-backs, parkings and what lies between),
played by a real small engine over a real store. Invariants it holds: every session's record replays to equal frames,
chunk by chunk; when the sessions are deleted no file of theirs is left, and memory is where it was. The last line is
one JSON document.
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from tqdm import tqdm

from client.recording import TakeFiles
from models.generator import Generator
from service.commands.replay import replay
from service.commands.stored import StoredLatents
from service.ipc import Mode
from service.store.store import SessionStore
from tests.models.engines import make_generator
from tests.service.commands.directing import Director, document_of

KINDS = ("step", "step", "step", "prompt", "blend", "cut", "rewind", "again", "take back", "park", "fork")
WORDS = ("red ball", "blue sea", "green forest", "snow night")
MODES: tuple[Mode, ...] = ("recache", "flush", "keep")

Move = tuple[str, int, int]
"""What is done, and two numbers that choose among what the session at hand allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    schedules: int
    sessions: int
    chunks: int
    unequal: int
    files_left: int
    growth_mib: float
    """Of this process, from after the first tenth of the schedules to the end."""
    seconds: float


async def direct(engine: Generator, store: SessionStore, moves: Sequence[Move]) -> list[Director]:
    """Play the moves. A fork goes on instead of the session it came from; in the end each gets two blocks more."""
    director = await Director.begin(engine, store, session="s0", text="a red ball")
    played = [director]
    for kind, number, choice in moves:
        if kind == "fork" and director.sequence > 0:
            block = number % (director.stream.next_block + 1)
            director = await director.fork(f"s{len(played)}", block=block, same_noise=choice == 0)
            played.append(director)
        else:
            await _move(director, kind, number=number, choice=choice)
    for each in played:
        for _ in range(2):
            await each.step()
    return played


async def _move(director: Director, kind: str, *, number: int, choice: int) -> None:
    block = number % (director.stream.next_block + 1)
    match kind:
        case "prompt":
            director.prompt(WORDS[choice], mode=MODES[number % 3])
        case "blend":
            director.prompt(WORDS[choice], transition_chunks=1 + number % 3)
        case "cut":
            director.prompt(WORDS[choice], mode="cut")
        case _ if kind == "step" or director.sequence == 0:  # what has no chunk is not stored, but started again
            await director.step()
        case "rewind" | "again":
            await director.rewind(block, same_noise=kind == "again")
        case "take back":
            await director.take_back(block)
        case _:
            await director.park()


async def check(engine: Generator, folder: Path, moves: Sequence[Move]) -> tuple[int, int, int]:
    """Play, replay and delete: how many sessions and chunks there were, and how many chunks were not equal."""
    store = SessionStore(folder)
    try:
        directors = await direct(engine, store, moves)
        chunks = unequal = 0
        for director in directors:
            document = await document_of(store, director.session)
            stored = StoredLatents(None, director.session)
            report = replay(engine, document, stored=stored, files=TakeFiles(), shown=())
            chunks += report.chunks
            unequal += report.chunks - report.equal
            made = [block.frames_sha256 for block in director.blocks]
            assert [chunk.frames_sha256 for chunk in document.chunks][-len(made) :] == made
        for director in directors:
            await store.end_session(director.session, "stopped")
            await store.delete(director.session)
        return len(directors), chunks, unequal
    finally:
        store.close()


def random_moves(seed: int) -> list[Move]:
    chooser = random.Random(seed)
    count = chooser.randrange(2, 24)
    return [(chooser.choice(KINDS), chooser.randrange(8), chooser.randrange(4)) for _ in range(count)]


def run(count: int, *, first_seed: int = 0) -> Outcome:
    engine, process = make_generator(), psutil.Process()
    started, sessions, chunks, unequal, before = time.monotonic(), 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for number in tqdm(range(count), file=sys.stderr, disable=count < 50):
            if number == count // 10:
                gc.collect()
                before = process.memory_info().rss
            moves = random_moves(first_seed + number)
            made, of_chunks, differ = asyncio.run(check(engine, Path(folder), moves))
            sessions, chunks, unequal = sessions + made, chunks + of_chunks, unequal + differ
        left = len(list((Path(folder) / "latents").iterdir()))
    gc.collect()
    growth = (process.memory_info().rss - before) / 2**20
    return Outcome(
        schedules=count,
        sessions=sessions,
        chunks=chunks,
        unequal=unequal,
        files_left=left,
        growth_mib=round(growth, 1),
        seconds=round(time.monotonic() - started, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule; each has the next")
    arguments = parser.parse_args()
    outcome = run(arguments.count, first_seed=arguments.seed)
    print(json.dumps(asdict(outcome)))
    sys.exit(outcome.unequal > 0 or outcome.files_left > 0)


if __name__ == "__main__":
    main()
