"""Makes takes with the product's own generator and reads them: the one place where an evaluation meets the engine.

Knows generator and meter; keeps no pictures. Streams are made one after another, as they are served. Invariant: what a
take's changes are compared on is the same beginning, bit for bit, because each goes on from a copy of it.
"""

from collections.abc import Iterator

from models.generator import Generator
from models.journal import WeightedPrompt
from models.stream import Stream
from models.train.detectors import Detectors
from models.train.eval.meter import Meter
from models.train.eval.pixels import Frames
from models.train.eval.takes import Change, Take, TakeRecord


def frames_of(generator: Generator, stream: Stream, *, blocks: int) -> Iterator[Frames]:
    """The next blocks of a stream."""
    for _ in range(blocks):
        block = generator.step(stream)
        assert block is not None, "nobody interrupts"
        yield block.frames


def film(generator: Generator, take: Take, *, detectors: Detectors | None) -> list[TakeRecord]:
    """One record of the take, or one for each of its changes."""
    if take.changes:
        return [_record(take, detectors, shots) for shots in branches(generator, take)]
    stream = generator.start([WeightedPrompt(take.prompt)], seed=take.seed)
    meter = _meter(take, detectors)
    for frames in frames_of(generator, stream, blocks=take.blocks):
        meter.feed(frames)
    generator.close(stream)
    return [meter.record(take.key)]


def branches(generator: Generator, take: Take) -> Iterator[tuple[Change, list[Frames]]]:
    """For each change the last block before it and the blocks after it."""
    stream = generator.start([WeightedPrompt(take.prompt)], seed=take.seed)
    *_, last = frames_of(generator, stream, blocks=take.blocks)
    copy, journal = generator.save(stream), stream.journal
    generator.close(stream)
    for change in take.changes:
        branch = generator.restore(journal, (), take.blocks, snapshot=copy)
        generator.set_prompt(branch, [WeightedPrompt(take.later)], mode=change.mode, transition_chunks=change.blend)
        yield change, [last, *frames_of(generator, branch, blocks=take.after)]
        generator.close(branch)


def _record(take: Take, detectors: Detectors | None, shots: tuple[Change, list[Frames]]) -> TakeRecord:
    change, blocks = shots
    meter = _meter(take, detectors)
    for frames in blocks:
        meter.feed(frames)
    return meter.record(take.key, change=change.name)


def _meter(take: Take, detectors: Detectors | None) -> Meter:
    return Meter(detectors, read_every=take.read_every, still_rows=take.still_rows)
