"""`longtake replay`: makes a session's frames again with the engine, and holds each chunk against its hash.

Knows the engine, the session's document and its latents; nothing of sockets. Invariants: every chunk is counted once,
as equal, as different, or as not comparable with the reason; what a run needs of earlier blocks comes from this replay,
and from the store only where other numerics made them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import typer
from torch import Tensor

from client.recording import Recorder, TakeFiles
from models.errors import RestoreError
from models.generator import Generator
from models.stream import Block
from service.commands.chapters import titles_of
from service.commands.engine import load_engine
from service.commands.failures import ExitCode
from service.commands.options import OptionError, ReplayOptions
from service.commands.replay_plan import Run, plan_runs
from service.commands.stored import CourseLatents, StoredLatents, check_cut, chunks_of_cut, folder_of
from service.media import provenance
from service.store.document import SessionDocument, read_document
from service.store.records import ChunkRow

Verdict = Literal["equal", "different", "other_numerics", "latents_missing"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One chunk and what came of making it again; `block` is None where it could not be made."""

    chunk: ChunkRow
    verdict: Verdict
    block: Block | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """Numbers of chunks by what came of them. `fingerprint` is this engine's, `recorded` the session's first."""

    session: str
    fingerprint: str
    recorded: str
    chunks: int
    equal: int
    different: tuple[int, ...]
    other_numerics: tuple[int, ...]
    latents_missing: tuple[int, ...]

    @property
    def exact(self) -> bool:
        """Everything that could be compared is equal, and something could."""
        return not self.different and (self.equal > 0 or self.chunks == 0)

    def to_json(self) -> str:
        """One line."""
        return json.dumps({**asdict(self), "exact": self.exact})

    def sentences(self) -> list[str]:
        """For people."""
        said = [f"session {self.session}: {self.equal} of {self.chunks} chunks are equal"]
        if self.different:
            said.append(f"different: chunks {_ranges(self.different)}")
        if self.other_numerics:
            numerics = f"the session's numerics are {self.recorded}, this engine's {self.fingerprint}"
            said.append(f"made with other numerics: chunks {_ranges(self.other_numerics)} ({numerics})")
        if self.latents_missing:
            said.append(f"not made, as latents they follow from are gone: chunks {_ranges(self.latents_missing)}")
        return said


def run_replay(options: ReplayOptions) -> None:
    """Replay a session of the store, or a record in a file. Leaves with code 1 unless all that can be is equal."""
    cut = check_cut(options.cut)
    files = TakeFiles(video=options.out)
    files.check()
    document, stored = _document_of(options)
    engine = load_engine(document.record.model, options)
    files = replace(files, comment=provenance(document.record.model, f"session {document.record.id}"))
    report = replay(engine, document, stored=stored, files=files, shown=chunks_of_cut(document, cut))
    if options.json:
        typer.echo(report.to_json())
    else:
        typer.echo("\n".join(report.sentences()))
    if not report.exact:
        raise typer.Exit(ExitCode.FAILED)


def replay(
    engine: Generator, document: SessionDocument, *, stored: StoredLatents, files: TakeFiles, shown: Sequence[ChunkRow]
) -> ReplayReport:
    """Make every chunk again; the video is of those that are `shown`."""
    record = document.record
    starts: dict[int, float] = {}
    frames = 0
    for chunk in shown:
        starts[chunk.sequence] = frames / record.fps
        frames += chunk.frames
    titles = titles_of(plan_runs(document))
    verdicts: dict[Verdict, list[int]] = {"equal": [], "different": [], "other_numerics": [], "latents_missing": []}
    with Recorder(files, width=record.width, height=record.height, fps=record.fps, frames=frames) as recorder:
        for compared in compare(engine, document, stored=stored):
            sequence = compared.chunk.sequence
            verdicts[compared.verdict].append(sequence)
            if sequence not in starts:
                continue
            if compared.block is not None:
                hashed = compared.block.frames_sha256
                recorder.chapter(titles[sequence], pts=starts[sequence])
                recorder.store(compared.block.frames, sha256=hashed, pts=starts[sequence])
            recorder.advance(compared.chunk.frames)
    return ReplayReport(
        session=record.id,
        fingerprint=engine.facts().fingerprint,
        recorded=record.fingerprint,
        chunks=len(document.chunks),
        equal=len(verdicts["equal"]),
        different=tuple(verdicts["different"]),
        other_numerics=tuple(verdicts["other_numerics"]),
        latents_missing=tuple(verdicts["latents_missing"]),
    )


def compare(engine: Generator, document: SessionDocument, *, stored: StoredLatents) -> Iterator[Compared]:
    """Every chunk in the order of its number."""
    own = engine.facts().fingerprint
    made: dict[int, Tensor] = {}
    for run in plan_runs(document):
        same = run.fingerprint == own
        blocks = _blocks(engine, run, CourseLatents(made, stored))
        for chunk in run.chunks:
            block = next(blocks, None)
            latents = block.kept.cpu() if block is not None and same else stored.chunk(chunk.sequence)
            _put(made, chunk.block, latents=latents)
            yield Compared(chunk, _verdict(chunk, block, same=same), block)


def _put(made: dict[int, Tensor], block: int, *, latents: Tensor | None) -> None:
    for later in [other for other in made if other >= block]:
        del made[later]
    if latents is not None:
        made[block] = latents


def _verdict(chunk: ChunkRow, block: Block | None, *, same: bool) -> Verdict:
    if not same:
        return "other_numerics"
    if block is None:
        return "latents_missing"
    expected = (chunk.block, chunk.take, chunk.attempt, chunk.frames, chunk.frames_sha256)
    found = (block.index, block.take, block.attempt, len(block.frames), block.frames_sha256)
    return "equal" if found == expected else "different"


def _blocks(engine: Generator, run: Run, latents: CourseLatents) -> Iterator[Block]:
    """The blocks of a run; none where what it follows from is not there."""
    try:
        stream = engine.restore(run.journal, latents, run.block)
    except RestoreError as error:
        if error.field != "latents":
            raise
        return
    try:
        for _ in run.chunks:
            block = engine.step(stream)
            assert block is not None, "nothing interrupts a replay"
            yield block
            engine.commit(stream)
    finally:
        engine.close(stream)


def _document_of(options: ReplayOptions) -> tuple[SessionDocument, StoredLatents]:
    if (options.session is None) == (options.journal is None):
        message = "expected a session of the store, or a record in a file with --journal: one of the two"
        raise OptionError(message, code="field_missing", field="session")
    if options.journal is not None:
        document = SessionDocument.from_json(options.journal.read_text("utf-8"))
        folder = options.store
    else:
        assert options.session is not None
        folder = folder_of(options.store)
        document = read_document(folder, options.session)
    return document, StoredLatents(folder, document.record.id)


def _ranges(numbers: Sequence[int]) -> str:
    """`0-3, 7`"""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)
