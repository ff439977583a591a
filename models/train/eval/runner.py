"""Films the takes that are asked for, those only that no earlier run has filmed, in as many processes as wanted.

Knows engines, detectors and records; knows nothing of what the takes are for. One thread a process. What comes back
does not depend on the number of processes or on what was there before.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from models.generator import Generator
from models.train.detectors import Detectors
from models.train.eval.engines import Source, Variant, build_engine, codec_of, identity_of
from models.train.eval.film import film
from models.train.eval.records import RecordFile
from models.train.eval.takes import Take, TakeRecord
from models.train.render import Renderer
from models.vae import LinearCodec

SERVED = Variant()


@dataclass(frozen=True, slots=True)
class Work:
    """One take for one process."""

    source: Source
    variant: Variant
    take: Take


class FilmCrew:
    """What a process keeps from one take to the next: the detectors, and the engine it used last."""

    def __init__(self, detectors: Detectors | None) -> None:
        self._detectors = detectors
        self._held: tuple[Source, Variant, Generator] | None = None

    def engine(self, source: Source, variant: Variant) -> Generator:
        """The engine, loaded if it is another than the last one."""
        if self._held is None or self._held[:2] != (source, variant):
            self._held = (source, variant, build_engine(source, variant))
        return self._held[2]

    def film(self, work: Work) -> list[TakeRecord]:
        return film(self.engine(work.source, work.variant), work.take, detectors=self._detectors)


@dataclass(frozen=True, slots=True)
class World:
    """What is needed to read the pictures of a model that draws the rendered world."""

    renderer: Renderer
    codec: LinearCodec
    detectors: Detectors

    @staticmethod
    def of(source: Source) -> "World":
        """Calibrate detectors with the model's own codec."""
        renderer, codec = Renderer(), codec_of(build_engine(source, SERVED))
        return World(renderer, codec, Detectors.calibrate(renderer, codec))


class Runner:
    """Films takes; made once for an evaluation."""

    def __init__(self, source: Source, folder: Path, *, jobs: int = 1) -> None:
        self.source = source
        self._folder = folder
        self._jobs = jobs
        self.world = World.of(source) if source.draws_the_world else None
        self.detectors = None if self.world is None else self.world.detectors
        self._crew = FilmCrew(self.detectors)

    def engine(self, variant: Variant = SERVED) -> Generator:
        """An engine of this process."""
        return self._crew.engine(self.source, variant)

    def run(self, takes: Sequence[Take], *, variant: Variant = SERVED, title: str) -> list[list[TakeRecord]]:
        """The records of every take, in their order."""
        records = RecordFile(self._folder, self._identity(variant))
        wanted = [take for take in dict.fromkeys(takes) if records.find(take) is None]
        with tqdm(total=len(takes), desc=title, unit="take", initial=len(takes) - len(wanted)) as bar:
            for made in self._film(wanted, variant):
                records.add(made)
                bar.update()
        found = [records.find(take) for take in takes]
        return [each for each in found if each is not None]

    def _identity(self, variant: Variant) -> str:
        detectors = "" if self.detectors is None else self.detectors.digest
        fingerprint = self.engine(variant).facts().fingerprint
        return f"{identity_of(self.source, variant, fingerprint=fingerprint)} {detectors}"

    def _film(self, takes: Sequence[Take], variant: Variant) -> Iterator[list[TakeRecord]]:
        work = [Work(self.source, variant, take) for take in takes]
        if self._jobs == 1 or len(work) < 2:
            yield from map(self._crew.film, work)
            return
        # A forked process would share what torch's threads hold locked.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            min(self._jobs, len(work)), mp_context=context, initializer=_begin, initargs=(self.detectors,)
        ) as pool:
            yield from pool.map(_film, work)


class _Process:
    """The crew of a process that a pool has started."""

    crew: FilmCrew


def _begin(detectors: Detectors | None) -> None:
    torch.set_num_threads(1)
    _Process.crew = FilmCrew(detectors)


def _film(work: Work) -> list[TakeRecord]:
    return _Process.crew.film(work)
