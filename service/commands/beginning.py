"""What a take begins with, where that is a picture or a clip: from the options of a command to blocks of latents.

Knows files, options and the engine's two calls for it; nothing of sockets. Invariants: a model that was not trained
for it is offered with a note that says so; a replay of a take that began so needs the same picture or clip again.
"""

from pathlib import Path
from typing import Protocol

from client.recording import tell
from models.clip import read_clip
from models.journal import MAX_OPENING_BLOCKS, Journal, Timeline
from models.opening import Opening
from models.vae import RGB24
from service.commands.options import OPENING_NOTE, GenerateOptions, OptionError


class Beginner(Protocol):
    """As much of the engine as a beginning needs."""

    @property
    def preset(self) -> "Size": ...

    def picture_opening(self, data: bytes) -> Opening: ...

    def clip_opening(self, frames: RGB24) -> Opening: ...


class Size(Protocol):
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> int: ...
    @property
    def frames_per_block(self) -> int: ...


def check_beginning(options: GenerateOptions, journal: Journal | None = None) -> None:
    """Raises OptionError for options that cannot be right, before anything is loaded."""
    if options.picture is not None and options.clip is not None:
        raise OptionError("expected --picture or --clip, not both", code="opening_conflict", field="clip")
    given = options.picture or options.clip
    for path in filter(None, (given,)):
        if not path.is_file():
            raise FileNotFoundError(2, "no such file", str(path))
    if journal is None:
        return
    blocks = Timeline.of(journal.events).given
    if bool(blocks) != (given is not None):
        expected = "the --picture or --clip that the take began with" if blocks else "no --picture or --clip"
        raise OptionError(f"expected {expected} beside --journal", code="opening_conflict", field="picture")


def opening_of(engine: Beginner, options: GenerateOptions) -> Opening | None:
    """The beginning that was asked for. Raises OSError or OpeningError."""
    if options.picture is not None:
        tell(OPENING_NOTE)
        return engine.picture_opening(options.picture.read_bytes())
    if options.clip is not None:
        tell(OPENING_NOTE)
        return engine.clip_opening(_frames(engine.preset, options.clip))
    return None


def _frames(size: Size, path: Path) -> RGB24:
    most = MAX_OPENING_BLOCKS * size.frames_per_block
    return read_clip(path, width=size.width, height=size.height, fps=size.fps, frames=most)
