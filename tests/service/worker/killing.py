"""Workers that are killed in the middle of a session, and the session going on in the next one from what is stored.

Real processes with a real small engine. A kill comes some time after a number of chunks, so it falls into any moment:
a pass, a decode, a file half written, a message half sent. Whatever has not arrived then was never stored.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch

from models.generator import Generator
from models.load import LoadOptions
from service.ipc import Chunk, Credit, Failed, Interact, Prompt, Ready, SessionEvent, Start
from tests.models.engines import make_generator
from tests.service.worker.directed import PROMPTS, SMALL, Record
from tests.service.worker.test_main import Process, worker

BLOCKS: Final = 16
LONGEST_DELAY: Final = 0.03
"""About two blocks of the small engine."""


def load_small(_preset: str, _options: LoadOptions) -> Generator:
    """A loader."""
    torch.set_num_threads(1)
    return make_generator()


@dataclass(frozen=True, slots=True)
class Kill:
    """So many chunks after the worker began, and so many seconds after that."""

    chunks: int
    delay: float


def random_kills(count: int, *, seed: int) -> list[Kill]:
    draw = random.Random(seed)
    return [Kill(draw.randrange(0, 4), draw.uniform(0.0, LONGEST_DELAY)) for _ in range(count)]


@dataclass(slots=True)
class Survivor:
    """One session over as many workers as it takes."""

    store: Path
    record: Record = field(default_factory=lambda: Record("s", 7))
    restarts: int = 0

    async def live(self, kills: Sequence[Kill]) -> None:
        """To its end: BLOCKS blocks, with prompts at set times."""
        for kill in kills:
            if len(self.record.course) < BLOCKS:
                await self._one_life(kill)
                self.restarts += 1
        while len(self.record.course) < BLOCKS:
            await self._one_life(None)

    async def _one_life(self, kill: Kill | None) -> None:
        settings = {"generator": f"{__name__}:load_small", "store_dir": str(self.store), "guard": False}
        async with worker("small", **settings) as process:
            await process.next(Ready)
            await self._begin(process)
            received = 0
            while len(self.record.course) < BLOCKS and not (kill is not None and received == kill.chunks):
                event = await process.next(Chunk, Failed)
                assert isinstance(event, SessionEvent)
                self.record.note(event)
                received += 1
                await process.channel.send(Credit(session="s"))
            if kill is not None:
                await asyncio.sleep(kill.delay)
                process.popen.kill()
                await process.exit_code()

    async def _begin(self, process: Process) -> None:
        """The session as it is to go on, and the prompts that have not taken effect."""
        start = Start(session="s", prompts=(Prompt(PROMPTS[0]),), seed=7, credits=4, pacing="none", format="raw")
        await process.channel.send(self.record.start(pacing="none", credits=4) if self.record.rows else start)
        for number, text in enumerate(PROMPTS[1:]):
            name = f"e{number}"
            if not any(f'"{name}"' in event for event in self.record.events):
                at = (number + 1) * 3 * SMALL.frames_per_block / SMALL.fps
                await process.channel.send(
                    Interact(session="s", event_id=name, prompts=(Prompt(text),), at=at, transition_chunks=number)
                )
