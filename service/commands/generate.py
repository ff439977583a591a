"""`longtake generate`: a video from the engine alone, in this process, as fast as it goes.

Knows the generator, the script of a take and the files it is written to; nothing of sockets or sessions. Invariants:
a prompt for a time takes effect at the first block that begins at or after it, as in the service; the video has
exactly the frames that were asked for, while each chunk's hash is that of the whole block.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

import typer

from client.recording import Recorder, TakeFiles, tell
from client.report import ChunkArrival, StreamReport, SwitchReport, build_report, milliseconds
from models.journal import Journal, PromptEvent, Timeline, WeightedPrompt
from models.opening import Opening
from models.stream import Block, LatentSource, PromptChange
from service.commands.beginning import check_beginning, opening_of
from service.commands.chapters import title_at, title_of
from service.commands.engine import load_engine
from service.commands.options import GenerateOptions, OptionError
from service.commands.script import Cue, Script, length_of, read_journal, script_of
from service.ipc import Mode, Prompt, Sink
from service.media import provenance
from service.worker.engine import PromptReading
from service.worker.reading import reading_warnings


class Picture(Protocol):
    """What a preset says of the video."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> int: ...


class Journaled(Protocol):
    """A stream: the engine's own, but for its journal."""

    @property
    def journal(self) -> Journal: ...


S = TypeVar("S", bound=Journaled)


class Engine(Protocol[S]):
    """As much of `models.generator.Generator` as a take needs."""

    @property
    def preset(self) -> Picture: ...

    def read_prompt(self, text: str) -> PromptReading: ...

    def start(self, prompts: Sequence[WeightedPrompt], *, seed: int, opening: Opening | None = None) -> S: ...

    def restore(self, journal: Journal, latents: LatentSource, block: int) -> S: ...

    def set_prompt(
        self,
        stream: S,
        prompts: Sequence[WeightedPrompt],
        *,
        mode: Mode,
        sink: Sink,
        transition_chunks: int,
        event_id: str,
    ) -> PromptChange: ...

    def step(self, stream: S) -> Block | None: ...

    def commit(self, stream: S) -> None: ...

    def close(self, stream: S) -> None: ...


class Take(Generic[S]):
    """One stream on its way to a length; iterate over `play` for its blocks."""

    def __init__(self, engine: Engine[S], stream: S, *, cues: Iterable[Cue]) -> None:
        self._engine = engine
        self._stream = stream
        self._waiting = deque(cues)
        self._handed: dict[str, tuple[int, float]] = {}
        self._fps = engine.preset.fps
        self.switches = [SwitchReport(title_of(cue.event.prompts)) for cue in self._waiting]
        self.arrivals: list[ChunkArrival] = []
        self.frames = 0

    def next_block(self) -> Block:
        """Hand over the prompts that are due and make a block. Raises PositionLimitError."""
        self._hand_over(self.frames / self._fps)
        block = self._engine.step(self._stream)
        assert block is not None, "nothing interrupts an offline take"
        now = time.monotonic()
        for event_id in block.started:
            if event_id in self._handed:
                number, since = self._handed.pop(event_id)
                name = self.switches[number].prompt
                self.switches[number] = SwitchReport(name, received_ms=milliseconds(since, now), chunk=block.index)
        self.arrivals.append(ChunkArrival(now, self.frames / self._fps, len(block.frames)))
        self.frames += len(block.frames)
        return block

    def _hand_over(self, seconds: float) -> None:
        while self._waiting and self._waiting[0].seconds <= seconds:
            event = self._waiting.popleft().event
            self._handed[event.event_id] = (len(self.switches) - len(self._waiting) - 1, time.monotonic())
            self._engine.set_prompt(
                self._stream,
                event.prompts,
                mode=event.mode,
                sink=event.sink,
                transition_chunks=event.transition_chunks,
                event_id=event.event_id,
            )


def run_generate(options: GenerateOptions) -> None:
    """Check what was asked for, load the model and film."""
    files = TakeFiles(video=options.out, hashes=options.sha256, journal=options.save_journal)
    files.check()
    seconds = length_of(options)
    plan = plan_of(options)
    preset = plan.model if isinstance(plan, Journal) else options.preset
    check_beginning(options, plan if isinstance(plan, Journal) else None)
    engine = load_engine(preset, options, settings=options.settings)
    files = replace(files, comment=provenance(engine.preset.name, f"seed {plan.seed}"))
    report = film(engine, plan, seconds=seconds, files=files, opening=opening_of(engine, options))
    if options.json:
        typer.echo(report.to_json())


def plan_of(options: GenerateOptions) -> Script | Journal:
    """The prompts of the command line, or the journal it names, which takes no prompts beside it."""
    if options.journal is None:
        return script_of(options)
    for name, value in (("prompt", options.prompt), ("at", options.at), ("seed", options.seed)):
        if value is not None:
            message = f"expected no --{name} beside --journal, which says it"
            raise OptionError(message, code="prompt_conflict", field=name)
    return read_journal(options.journal)


def film(
    engine: Engine[S], plan: Script | Journal, *, seconds: float, files: TakeFiles, opening: Opening | None = None
) -> StreamReport:
    """Make whole blocks until the length is reached, and write what is asked for as they come."""
    started = time.monotonic()
    picture = engine.preset
    wanted = max(1, round(seconds * picture.fps))
    stream, cues = _begin(engine, plan, opening)
    tell_of_reading(engine, plan)  # of a take that begins: what is refused is told of in one line
    try:
        take = Take(engine, stream, cues=cues)
        with Recorder(files, width=picture.width, height=picture.height, fps=picture.fps, frames=wanted) as recorder:
            while (made := take.frames) < wanted:
                block = take.next_block()
                shown = block.frames[: wanted - made]
                recorder.chapter(title_at(stream.journal.events, block.index), pts=made / picture.fps)
                recorder.store(shown, sha256=block.frames_sha256, pts=made / picture.fps)
                recorder.advance(len(shown))
                engine.commit(stream)
        if files.journal is not None:
            files.journal.write_text(stream.journal.to_json() + "\n", encoding="utf-8")
    finally:
        engine.close(stream)
    switches = take.switches if isinstance(plan, Script) else _replayed(plan, blocks=len(take.arrivals))
    return build_report(_trimmed(take.arrivals, wanted), fps=picture.fps, started=started, switches=switches)


def tell_of_reading(engine: Engine[S], plan: Script | Journal) -> None:
    """A line for every prompt that is not read as it is written: the same words as the service's warnings."""
    events = [plan.first, *(cue.event for cue in plan.cues)] if isinstance(plan, Script) else plan.events
    texts = [prompt.text for event in events if isinstance(event, PromptEvent) for prompt in event.prompts]
    prompts = [Prompt(text) for text in dict.fromkeys(texts)]
    for warning in reading_warnings(engine, "", prompts=prompts, event_id=""):
        tell(f"{warning.code}: {warning.message}")


def _replayed(journal: Journal, *, blocks: int) -> list[SwitchReport]:
    """The switches of a replay: where they stand is known, and nobody waited for them."""
    _, *rest = Timeline.of(journal.events).events
    prompts = [event for event in rest if isinstance(event, PromptEvent)]
    return [SwitchReport(title_of(event.prompts), chunk=event.block) for event in prompts if event.block < blocks]


def _begin(engine: Engine[S], plan: Script | Journal, opening: Opening | None) -> tuple[S, tuple[Cue, ...]]:
    if isinstance(plan, Script):
        return engine.start(plan.first.prompts, seed=plan.seed, opening=opening), plan.cues
    return engine.restore(plan, opening.blocks if opening is not None else (), 0), ()


def _trimmed(arrivals: list[ChunkArrival], wanted: int) -> list[ChunkArrival]:
    """The last chunk counts as far as it is in the video."""
    *whole, last = arrivals
    return [*whole, ChunkArrival(last.received, last.pts, wanted - sum(chunk.frames for chunk in whole))]
