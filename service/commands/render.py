"""`longtake render`: a session's video once more, decoded otherwise, or made anew at another size or step count.

Knows the engine, the session's document and its latents; nothing of sockets. Invariants: what only decodes again is the
same take, from the same latents; what is made anew follows the same journal from its beginning, is called a new take,
and leaves the stored session as it is.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import typer

from client.recording import tell
from client.video import VideoWriter
from models.errors import RestoreError
from models.generator import Generator
from models.journal import Journal
from models.load import build_generator
from models.presets import Preset, get_preset
from models.vae import RGB24
from service.commands.chapters import titles_of
from service.commands.engine import load_options
from service.commands.options import OptionError, RenderOptions
from service.commands.record import chunk_reader, decode_runs, runs_of
from service.commands.stored import CourseLatents, StoredLatents, folder_of
from service.media import provenance
from service.store.document import SessionDocument, read_document

_NICE = 10
_TRAINING_STEPS = 1000
Take = Literal["same", "new"]


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a session is made again. `changed`: what makes it a new take, as `name: before -> now`."""

    preset: Preset
    changed: tuple[str, ...]

    @property
    def take(self) -> Take:
        return "new" if self.changed else "same"


def run_render(options: RenderOptions) -> None:
    """Write the film. It comes under its name only when it is whole."""
    os.nice(_NICE)  # live sessions go first
    folder = folder_of(options.store)
    document = read_document(folder, options.session)
    stored = StoredLatents(folder, document.record.id)
    loading = load_options(options, options.settings)
    rendering = rendering_of(
        get_preset(document.record.model, preset_dir=loading.preset_dir), document, options=options
    )
    engine = build_generator(rendering.preset, loading)
    if rendering.changed:
        tell(f"a new take, for it is made anew: {'; '.join(rendering.changed)}")
    else:
        tell(f"the same take, decoded again by {options.decoder or 'the usual decoder'}")
    frames = write(engine, rendering, document=document, stored=stored, options=options)
    if options.json:
        said = {"session": document.record.id, "take": rendering.take, "changed": rendering.changed, "frames": frames}
        typer.echo(json.dumps(said | {"fingerprint": engine.facts().fingerprint}))


def rendering_of(preset: Preset, document: SessionDocument, *, options: RenderOptions) -> Rendering:
    """What is asked for, against how the session was made. Raises OptionError, ConfigError."""
    record, changed = document.record, []
    width, height = options.width or record.width, options.height or record.height
    if (width, height) != (record.width, record.height):
        changed.append(f"size: {record.width}x{record.height} -> {width}x{height}")
    steps = preset.sampler.steps if options.steps is None else even_steps(options.steps)
    if len(steps) != len(preset.sampler.steps):
        changed.append(f"steps: {len(preset.sampler.steps)} -> {len(steps)}")
    else:
        steps = preset.sampler.steps
    video, sampler = replace(preset.video, width=width, height=height), replace(preset.sampler, steps=steps)
    return Rendering(replace(preset, video=video, sampler=sampler), tuple(changed))


def even_steps(count: int) -> tuple[int, ...]:
    """So many steps, evenly down from the whole noise. Raises OptionError."""
    if not 1 <= count <= _TRAINING_STEPS:
        raise OptionError(f"expected 1 to {_TRAINING_STEPS} steps, not {count}", code="field_range", field="steps")
    return tuple(_TRAINING_STEPS - number * _TRAINING_STEPS // count for number in range(count))


def write(
    engine: Generator,
    rendering: Rendering,
    *,
    document: SessionDocument,
    stored: StoredLatents,
    options: RenderOptions,
) -> int:
    """The frames that the film has."""
    record, video = document.record, rendering.preset.video
    titles = titles_of(runs_of(document, "final"))
    source = f"session {record.id}" + ("; a new take" if rendering.changed else "")
    pictures = (made_anew if rendering.changed else decoded)(engine, document, stored=stored)
    unfinished = options.out.with_name(f".{options.out.name}.writing")
    comment = provenance(record.model, source)
    try:
        with VideoWriter(unfinished, width=video.width, height=video.height, fps=video.fps, comment=comment) as film:
            for chunk, block in zip(document.course, pictures, strict=True):
                film.chapter(titles[chunk.sequence])
                film.append(block)
        unfinished.replace(options.out)
    finally:
        unfinished.unlink(missing_ok=True)
    return film.frames


def decoded(engine: Generator, document: SessionDocument, *, stored: StoredLatents) -> Iterator[RGB24]:
    """The stored latents of the video as it stands, as pictures. Raises LatentsMissing."""
    read = chunk_reader(stored, frames=engine.preset.block_frames)
    for _, pictures in decode_runs(engine.parts.decoder, runs_of(document, "final"), read=read):
        yield pictures


def made_anew(engine: Generator, document: SessionDocument, *, stored: StoredLatents) -> Iterator[RGB24]:
    """Every block of the journal, from the first. Raises OptionError for a session that began with a picture."""
    journal = Journal.from_json(document.journal())
    try:
        stream = engine.restore(journal, CourseLatents({}, stored), 0)
    except RestoreError as error:
        if error.field != "latents":
            raise
        message = "expected a session that began with a prompt alone: a picture has latents of its size only"
        raise OptionError(message, code="opening_unsupported", field="session") from error
    try:
        for _ in document.course:
            block = engine.step(stream)
            assert block is not None, "nothing interrupts a rendering"
            yield block.frames
            engine.commit(stream)
    finally:
        engine.close(stream)
