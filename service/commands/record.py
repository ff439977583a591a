"""`longtake sessions record`: a session's video from its latents, without making a block again.

Knows the decoder, the session's document and its latents; nothing of sockets. Invariants: the decoder's state is that
of the chunk's own course: after a jump it comes from the latents before it, as in a rewind; a scene's first latent is
decoded as one.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence

import torch
import typer
from torch import Tensor
from tqdm import tqdm

from client.video import VideoWriter
from models.journal import Journal, PromptEvent, Timeline
from models.vae import RGB24, DecoderState, StreamDecoder, rebuild_state, to_rgb24
from service.commands.chapters import titles_of
from service.commands.engine import load_engine
from service.commands.options import RecordOptions
from service.commands.replay_plan import Run, plan_runs
from service.commands.stored import Cut, StoredLatents, check_cut, chunks_of_cut, folder_of
from service.media import provenance
from service.store.document import SessionDocument, read_document
from service.store.failures import LatentsMissing
from service.store.records import ChunkRow

_NICE = 10
ReadChunk = Callable[[int], Tensor]


def run_record(options: RecordOptions) -> None:
    """Write the file. It comes under its name only when it is whole."""
    os.nice(_NICE)  # live sessions go first
    cut = check_cut(options.cut)
    folder = folder_of(options.store)
    document = read_document(folder, options.session)
    shown = {chunk.sequence for chunk in chunks_of_cut(document, cut)}
    stored = StoredLatents(folder, options.session)
    engine = load_engine(document.record.model, options)
    record = document.record
    unfinished = options.out.with_name(f".{options.out.name}.writing")
    runs = runs_of(document, cut)
    titles = titles_of(runs)
    comment = provenance(record.model, f"session {record.id}")
    try:
        with (
            VideoWriter(unfinished, width=record.width, height=record.height, fps=record.fps, comment=comment) as film,
            tqdm(total=len(shown), unit="chunk", file=sys.stderr, dynamic_ncols=True, disable=None) as bar,
        ):
            made = decode_runs(engine.parts.decoder, runs, read=chunk_reader(stored, frames=engine.preset.block_frames))
            for chunk, pictures in (one for one in made if one[0].sequence in shown):
                film.chapter(titles[chunk.sequence])
                film.append(pictures)
                bar.update()
        unfinished.replace(options.out)
    finally:
        unfinished.unlink(missing_ok=True)
    if options.json:
        typer.echo(json.dumps({"session": record.id, "cut": cut, "chunks": len(shown), "frames": film.frames}))


def runs_of(document: SessionDocument, cut: Cut) -> tuple[Run, ...]:
    """What is to be decoded: the final cut is one run, the others are as they were made."""
    if cut == "aired":
        return plan_runs(document)
    return (Run(document.course, Journal.from_json(document.journal()), document.record.fingerprint),)


@torch.inference_mode()
def decode_runs(decoder: StreamDecoder, runs: Sequence[Run], *, read: ReadChunk) -> Iterator[tuple[ChunkRow, RGB24]]:
    """Every chunk's frames, in the order of their numbers."""
    course: list[Tensor] = []
    for run in filter(lambda run: run.chunks, runs):
        del course[run.block :]
        cuts = scene_starts(run.journal)
        scene = max(start for start in cuts if start <= run.block)
        state = _state_at(decoder, course, scene=scene)
        for chunk in run.chunks:
            if chunk.block in cuts:
                state = decoder.start()
            latents = read(chunk.sequence)
            course.append(latents)
            pictures, state = _decode(decoder, latents, state=state)
            yield chunk, pictures


def scene_starts(journal: Journal) -> frozenset[int]:
    """The blocks that begin a scene."""
    events = Timeline.of(journal.events).events
    return frozenset({0} | {event.block for event in events if isinstance(event, PromptEvent) and event.mode == "cut"})


def _state_at(decoder: StreamDecoder, course: Sequence[Tensor], *, scene: int) -> DecoderState:
    latents = [latent.float() for block in course[scene:] for latent in block]
    needed = min(len(latents), decoder.receptive_latents)
    return rebuild_state(decoder, latents[len(latents) - needed :], position=len(latents))


def _decode(decoder: StreamDecoder, latents: Tensor, *, state: DecoderState) -> tuple[RGB24, DecoderState]:
    pixels = []
    for latent in latents:
        made, state = decoder.decode(latent.float(), state)
        pixels.append(made)
    return to_rgb24(torch.cat(pixels)), state


def chunk_reader(stored: StoredLatents, *, frames: int) -> ReadChunk:
    """The finished latents of chunks, `frames` each: what may lie behind them is for replays only."""

    def read(sequence: int) -> Tensor:
        latents = stored.chunk(sequence)
        if latents is None:
            raise LatentsMissing(f"the latents of chunk {sequence} of session {stored.session} are not there")
        return latents[:frames]

    return read
