"""`longtake bench`: how many blocks a second the engine makes, and where the time goes.

Runs the generator, the worker's encoder and the worker's channel one after the other in this process, so that the
stages add up to the whole; the service runs the last two beside the engine. Knows no sessions and no pacing. The
last line of stdout is one JSON document.
"""

import json
import math
import resource
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final, cast, get_args

import torch
import typer

from models.flops import block_flops
from models.generator import Generator
from models.journal import WeightedPrompt
from models.stream import Block, Stream
from service.commands.bench_compare import bars, compare, read_document
from service.commands.bench_profile import outside_products
from service.commands.bench_rates import PowerMeter, matrix_flops
from service.commands.engine import load_engine
from service.commands.loopback import Loopback
from service.commands.machine import Machine, machine_facts
from service.commands.options import BenchOptions, OptionError
from service.ipc import Chunk, Format, StageMilliseconds
from service.worker.media import encode_frames, frame_spans

QUALITY: Final = 85
SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCost:
    """Milliseconds of one block, stage by stage; 0 where a stage had nothing to do."""

    text: float
    recache: float
    denoise: float
    clean: float
    decode: float
    encode: float
    send: float

    @property
    def passes(self) -> float:
        return self.denoise + self.clean

    @property
    def delivered(self) -> float:
        """Up to when the chunk is sent: all but the clean pass, which runs afterwards."""
        return self.total - self.clean

    @property
    def total(self) -> float:
        return self.text + self.recache + self.denoise + self.clean + self.decode + self.encode + self.send


@dataclass(frozen=True, slots=True)
class StageFigures:
    """Over the blocks in which the stage had something to do."""

    blocks: int
    median_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """The JSON document."""

    preset: str
    random_weights: bool
    width: int
    height: int
    blocks: int
    frames: int
    blocks_per_second: float
    frames_per_second: float
    realtime: float
    """How many viewers at the preset's frame rate that would be."""
    speed: dict[str, str]
    """Fast paths that were asked for."""
    transformer_frames_per_second: float
    """Of the passes alone, as most figures that are published: decoding, encoding and sending left out."""
    transformer_flops: float
    """Operations a second that the passes of a block over a full window reach."""
    matrix_flops: float
    """The same of a large matrix product on this device, in this run."""
    matrix_share: float
    outside_products: float
    """Share of a block's time that is not spent in matrix products."""
    first_chunk_ms: float
    """From starting a stream to its first chunk sent: the median of `first_chunks`."""
    first_chunks: StageFigures
    switches: StageFigures
    """From a new prompt to the chunk under it sent, where the engine is free."""
    resident_streams: int
    """Streams like this one that there is memory for."""
    watts: float | None
    load_seconds: float
    peak_bytes: int
    """Of the device's memory that torch took, or of this process where there is no device."""
    stages: dict[str, StageFigures]
    machine: Machine

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


class BenchRun:
    """One stream that is made, encoded and sent block by block, with a prompt change now and then."""

    def __init__(self, generator: Generator, loopback: Loopback, *, switch_every: int, format: Format = "jpeg") -> None:
        self._generator = generator
        self._loopback = loopback
        self._switch_every = switch_every
        self._format: Format = format
        self._prompts = [(WeightedPrompt(text),) for text in generator.preset.suggested_prompts]
        self._stream: Stream = generator.start(self._prompts[0], seed=SEED)
        self._stream.between.exact = True
        self._made = 0
        self.frames = 0

    def block(self) -> BlockCost:
        """Make the next block and take it all the way."""
        if self._made and self._made % self._switch_every == 0:
            number = self._made // self._switch_every
            self._generator.set_prompt(self._stream, self._prompts[number % len(self._prompts)])
        block = self._generator.step(self._stream)
        assert block is not None, "nothing interrupts a benchmark"
        begun = time.perf_counter()
        lengths, payload = encode_frames(
            block.frames,
            self._format,
            quality=QUALITY,
            first=self.frames,
            fps=self._generator.preset.fps,
            sequence=self._made,
        )
        chunk = self._chunk(block, lengths, payload)
        encoded = time.perf_counter()
        self._loopback.send(chunk)
        sent = time.perf_counter()
        timings = block.timings
        self._generator.commit(self._stream, timings)
        self._made += 1
        self.frames += len(block.frames)
        return BlockCost(
            text=timings.text,
            recache=timings.recache,
            denoise=timings.denoise,
            clean=timings.clean,
            decode=timings.decode,
            encode=1000 * (encoded - begun),
            send=1000 * (sent - encoded),
        )

    def resident_streams(self) -> int:
        return self._generator.plan_memory(self._stream).max_streams

    def close(self) -> None:
        self._generator.close(self._stream)

    def _chunk(self, block: Block, lengths: Sequence[int], payload: bytes) -> Chunk:
        fps = self._generator.preset.fps
        return Chunk(
            session="bench",
            sequence=self._made,
            take=block.take,
            block=block.index,
            attempt=block.attempt,
            pts=0.0,
            fps=fps,
            format=self._format,
            frames=frame_spans(lengths, pts=0.0, fps=fps),
            frames_sha256=block.frames_sha256,
            timings=StageMilliseconds(text=0.0, recache=0.0, denoise=0.0, clean=0.0, decode=0.0, encode=0.0),
            payload=payload,
        )


def run_bench(options: BenchOptions) -> None:
    """Check what was asked for, load the model, measure and tell."""
    for name in ("blocks", "switch_every", "starts"):
        if getattr(options, name) < 1:
            raise OptionError(f"expected at least 1, not {getattr(options, name)}", code="field_range", field=name)
    if options.format not in get_args(Format):
        expected = f"one of {', '.join(get_args(Format))}"
        raise OptionError(f"expected {expected}, not {options.format}", code="field_choice", field="format")
    old = None if options.compare is None else read_document(options.compare)
    if options.warmup < 0:
        raise OptionError(f"expected at least 0, not {options.warmup}", code="field_range", field="warmup")
    begun = time.perf_counter()
    generator = load_engine(options.preset, options, settings=options.settings)
    report = measure(generator, options, load_seconds=time.perf_counter() - begun)
    typer.echo(table_of(report), err=True)
    if old is not None:
        typer.echo(compare(old, asdict(report)), err=True)
    if options.json:
        typer.echo(report.to_json())


def measure(generator: Generator, options: BenchOptions, *, load_seconds: float = 0.0) -> BenchReport:
    """Warm up, then take the time of `options.blocks` blocks."""
    machine, device, preset = machine_facts(), generator.parts.device, generator.preset
    with Loopback() as loopback:
        firsts = [_first_chunk(generator, loopback, options) for _ in range(options.starts)]
        run = _new_run(generator, loopback, options)
        for _ in range(options.warmup + 1):
            run.block()
        meter, frames_before, begun = PowerMeter(device), run.frames, time.perf_counter()
        costs = [run.block() for _ in range(options.blocks)]
        frames = run.frames - frames_before
        elapsed, watts = time.perf_counter() - begun, meter.watts()
        # Before the profiler, which keeps much in memory itself.
        peak = _peak_bytes()
        outside = outside_products(run.block, device)
        resident = run.resident_streams()
        run.close()
    passes = statistics.median(cost.passes for cost in costs) / 1000
    rate = matrix_flops(device, generator.parts.dtype)
    reached = block_flops(preset) / passes
    return BenchReport(
        preset=preset.name,
        random_weights=options.random_weights,
        width=preset.width,
        height=preset.height,
        blocks=options.blocks,
        frames=frames,
        blocks_per_second=round(options.blocks / elapsed, 3),
        frames_per_second=round(frames / elapsed, 2),
        realtime=round(frames / elapsed / preset.fps, 2),
        speed=dict(text.split("=", 1) for text in options.speed or ()),
        transformer_frames_per_second=round(frames / options.blocks / passes, 2),
        transformer_flops=reached,
        matrix_flops=rate,
        matrix_share=round(reached / rate, 3),
        outside_products=round(outside, 3),
        first_chunk_ms=round(statistics.median(firsts), 1),
        first_chunks=figures(firsts),
        switches=figures(cost.delivered for cost in costs if cost.recache > 0),
        resident_streams=resident,
        watts=None if watts is None else round(watts, 1),
        load_seconds=round(load_seconds, 2),
        peak_bytes=peak,
        stages=stages_of(costs),
        machine=machine,
    )


def _new_run(generator: Generator, loopback: Loopback, options: BenchOptions) -> BenchRun:
    return BenchRun(generator, loopback, switch_every=options.switch_every, format=cast(Format, options.format))


def _first_chunk(generator: Generator, loopback: Loopback, options: BenchOptions) -> float:
    """Milliseconds from starting a stream to its first chunk sent; its clean pass comes later."""
    begun = time.perf_counter()
    run = _new_run(generator, loopback, options)
    clean = run.block().clean
    run.close()
    return 1000 * (time.perf_counter() - begun) - clean


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def stages_of(costs: Sequence[BlockCost]) -> dict[str, StageFigures]:
    """Figures of every stage, and of the whole block under `total`."""
    names = [field.name for field in fields(BlockCost)] + ["total"]
    return {name: figures(getattr(cost, name) for cost in costs) for name in names}


def figures(milliseconds: Iterable[float]) -> StageFigures:
    """Median and 95th percentile (nearest rank) of those above 0."""
    spent = sorted(value for value in milliseconds if value > 0)
    if not spent:
        return StageFigures(0, 0.0, 0.0)
    rank = math.ceil(0.95 * len(spent)) - 1
    return StageFigures(len(spent), round(statistics.median(spent), 3), round(spent[rank], 3))


def table_of(report: BenchReport) -> str:
    """The same for people."""
    machine = report.machine
    lines = [
        f"{report.preset} {report.width}x{report.height}, {report.blocks} blocks",
        f"{machine.cpu}, {machine.cores} cores, {machine.threads} threads, load {machine.load_average[0]:.1f}, "
        f"torch {machine.torch}",
        f"{report.blocks_per_second:.2f} blocks/s, {report.frames_per_second:.1f} frames/s "
        f"({report.realtime:.1f} x real time), first chunk after {report.first_chunk_ms:.0f} ms",
        f"transformer alone {report.transformer_frames_per_second:.1f} frames/s, "
        f"{report.transformer_flops / 1e12:.3f} TFLOP/s: {report.matrix_share:.0%} of what a matrix product reaches; "
        f"{report.outside_products:.0%} of a block's time is outside matrix products",
        f"a new prompt's chunk after {report.switches.median_ms:.0f} ms; memory for {report.resident_streams} streams"
        + ("" if report.watts is None else f"; {report.watts:.0f} W"),
        f"loaded in {report.load_seconds:.1f} s, at most {report.peak_bytes / 2**30:.2f} GiB of memory",
        f"{'stage':<10}{'blocks':>8}{'median ms':>12}{'p95 ms':>10}",
    ]
    for name, stage in report.stages.items():
        lines.append(f"{name:<10}{stage.blocks:>8}{stage.median_ms:>12.2f}{stage.p95_ms:>10.2f}")
    spent = {name: stage.median_ms for name, stage in report.stages.items() if name not in ("total", "recache", "text")}
    return "\n".join([*lines, "where the time of a block without a new prompt goes:", *bars(spent)])
