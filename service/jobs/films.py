"""What a finished job leaves: its film, a still, and a sheet of stills, made of the fragments it has stored.

Knows files and pictures; nothing of SQL, the engine or who asks. Invariants: nothing is encoded again but the stills;
memory does not grow with the length; each file is on the disk, under its name, before its facts are given back.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import av
from PIL import Image

from service.errors import ErrorCode
from service.jobs.failures import JobError
from service.jobs.files import Film, JobFiles, digest, write_whole
from service.jobs.rows import StoredFile
from service.media import Chapter, FilmError, FilmNotes, provenance, remux

VIDEO, THUMBNAIL, SPRITESHEET = "video.mp4", "thumbnail.jpg", "spritesheet.jpg"
_NAMED = (
    ("video", VIDEO, "video/mp4"),
    ("thumbnail", THUMBNAIL, "image/jpeg"),
    ("spritesheet", SPRITESHEET, "image/jpeg"),
)
_COLUMNS = 5
_STILLS = 25
_STILL_WIDTH = 320
_SHEET_STILL_WIDTH = 160
_QUALITY = 85


def make_film(files: JobFiles, film: Film) -> tuple[StoredFile, ...]:
    """All files of a finished job. Raises OSError, or JobError where the fragments are not that film."""
    source, folder = files.fragments(film.job, film.attempt), files.folder(film.job)
    video = folder / VIDEO
    notes = FilmNotes(
        provenance(film.model, f"job {film.job}"), tuple(Chapter(seconds, title) for seconds, title in film.chapters)
    )
    try:
        with source.open("r+b") as file:
            file.truncate(film.media_bytes)  # what is behind was never acknowledged
        remux(source, video, frames=film.frames, fps=film.fps, notes=notes)
        (first,) = read_stills(video, count=1, frames=film.frames, fps=film.fps)
        write_whole(folder / THUMBNAIL, _jpeg(_scaled(first, _STILL_WIDTH)))
        write_whole(folder / SPRITESHEET, _jpeg(_sheet(video, film)))
    except (FilmError, av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError):
            raise
        raise JobError(ErrorCode.MEDIA_FAILED, f"the film of {film.job} could not be made: {error}") from error
    return tuple(_facts(folder / name, variant, media_type) for variant, name, media_type in _NAMED)


def read_stills(video: Path, *, count: int, frames: int, fps: int) -> Iterator[Image.Image]:
    """Key frames about evenly spaced over the film, the first one first; only these are decoded."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None, "a film has a clock"
        for number in range(count):
            seconds = number * frames / count / fps
            container.seek(int(seconds / stream.time_base), stream=stream, backward=True)
            picture = next(container.decode(stream), None)
            if picture is not None:
                yield Image.fromarray(picture.to_ndarray(format="rgb24"))


def _sheet(video: Path, film: Film) -> Image.Image:
    """Stills in rows, from left to right and down."""
    count = min(_STILLS, film.frames)
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    sheet: Image.Image | None = None
    for number, picture in enumerate(read_stills(video, count=count, frames=film.frames, fps=film.fps)):
        still = _scaled(picture, _SHEET_STILL_WIDTH)
        if sheet is None:
            sheet = Image.new("RGB", (columns * still.width, rows * still.height))
        sheet.paste(still, (number % columns * still.width, number // columns * still.height))
    if sheet is None:
        raise FilmError("expected a film with pictures")
    return sheet


def _scaled(picture: Image.Image, width: int) -> Image.Image:
    """No wider than that."""
    width = min(width, picture.width)
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _facts(path: Path, variant: str, media_type: str) -> StoredFile:
    return StoredFile(variant, path.name, path.stat().st_size, digest(path), media_type)
