"""Films: exactly the frames that were asked for, the index first, chapters and comment, and no warning of a reader."""

import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import pytest

from client.video import VideoWriter
from service.media import Chapter, FilmError, FilmNotes, boxes_in, film, finish_film, remux
from tests.service.media.blocks import FPS, HEIGHT, WIDTH, file_of_fragments, init, number_of, numbered, pixels_of

NOTES = FilmNotes("made by Longtake", (Chapter(0.0, "a red ball"), Chapter(0.75, "ein grüner Würfel")))


def read(path: Path) -> tuple[list[tuple[Fraction, int]], str, list[tuple[Fraction, str]]]:
    """Frames (time, number), comment and chapters (begin, title); a warning of the reader is a failure."""
    with av.logging.Capture() as said, av.open(str(path), "r") as container:
        assert [stream.type for stream in container.streams] == ["video"]
        frames = [
            (Fraction(frame.pts or 0) * (frame.time_base or 0), number_of(pixels_of(frame)))
            for frame in container.decode(video=0)
        ]
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate) == (len(frames), Fraction(FPS))
        chapters = [
            (chapter["start"] * cast(Fraction, chapter["time_base"]), chapter["metadata"]["title"])
            for chapter in container.chapters()
        ]
        comment = container.metadata.get("comment", "")
    assert [line for line in said if line[0] <= av.logging.WARNING] == []
    return frames, comment, chapters


@pytest.mark.parametrize("frames", [46, 45, 33, 10, 1])
def test_a_film_has_exactly_the_frames_that_were_asked_for(tmp_path: Path, frames: int) -> None:
    out = tmp_path / "film.mp4"
    remux(file_of_fragments(tmp_path / "job.m4s"), out, frames=frames, fps=FPS, notes=NOTES)
    shown, comment, chapters = read(out)
    assert shown == [(Fraction(n, FPS), n) for n in range(frames)]
    assert comment == "made by Longtake"
    assert chapters == [(Fraction(0), "a red ball"), (Fraction(3, 4), "ein grüner Würfel")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "job.m4s"]


def test_the_index_comes_before_the_frames(tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    remux(file_of_fragments(tmp_path / "job.m4s"), out, frames=46, fps=FPS)
    kinds = [box.kind for box in boxes_in(out.read_bytes())]
    assert kinds.index("moov") == 1 < kinds.index("mdat")


def test_too_few_frames_are_no_film_and_leave_nothing(tmp_path: Path) -> None:
    source = file_of_fragments(tmp_path / "job.m4s")
    with pytest.raises(FilmError, match="expected 47 frames, got 46"):
        remux(source, tmp_path / "film.mp4", frames=47, fps=FPS)
    assert list(tmp_path.iterdir()) == [source]


def test_a_block_that_is_there_twice_or_missing_is_no_film(tmp_path: Path) -> None:
    source = file_of_fragments(tmp_path / "job.m4s", [12])
    source.write_bytes(source.read_bytes() + source.read_bytes()[len(init()) :])
    with pytest.raises(FilmError, match=r"expected frame 12 at 0\.75 s, got it at 0\.0 s"):
        remux(source, tmp_path / "film.mp4", frames=24, fps=FPS)


def test_a_fragment_that_was_not_written_whole_is_no_hindrance_behind_the_film(tmp_path: Path) -> None:
    source = file_of_fragments(tmp_path / "job.m4s")
    source.write_bytes(source.read_bytes()[:-40])
    remux(source, tmp_path / "film.mp4", frames=34, fps=FPS)
    assert len(read(tmp_path / "film.mp4")[0]) == 34


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.m4s").write_bytes(b"no boxes at all, for more than a header's length")
    with pytest.raises(FilmError, match=r"job\.m4s"):
        remux(tmp_path / "job.m4s", tmp_path / "film.mp4", frames=1, fps=FPS)
    with pytest.raises(FilmError, match=r"job\.m4s"):
        finish_film(tmp_path / "job.m4s", tmp_path / "film.mp4")
    with pytest.raises(FileNotFoundError):
        remux(tmp_path / "none", tmp_path / "film.mp4", frames=1, fps=FPS)
    assert [path.name for path in tmp_path.iterdir()] == ["job.m4s"]


def test_a_written_video_is_finished_with_chapters_in_place(tmp_path: Path) -> None:
    path = tmp_path / "take.mp4"
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS, crf=23) as writer:
        writer.append(numbered(0, 40))
    finish_film(path, path, chapters=NOTES.chapters)
    finish_film(path, path, chapters=NOTES.chapters[1:])
    shown, _, chapters = read(path)
    assert shown == [(Fraction(n, FPS), n) for n in range(40)]
    assert chapters == [(Fraction(3, 4), "ein grüner Würfel")]
    assert [box.kind for box in boxes_in(path.read_bytes())][:2] == ["ftyp", "moov"]


def test_pointers_have_64_bits_where_32_are_too_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = file_of_fragments(tmp_path / "job.m4s")
    monkeypatch.setattr(film, "_FARTHEST", 1000)
    remux(source, tmp_path / "film.mp4", frames=46, fps=FPS)
    assert b"co64" in (tmp_path / "film.mp4").read_bytes()
    assert [number for _, number in read(tmp_path / "film.mp4")[0]] == list(range(46))


def test_chapters_are_bounded_and_cut_between_letters(tmp_path: Path) -> None:
    chapters = tuple(Chapter(n / FPS, "ü" * 300) for n in range(300))
    notes = FilmNotes(chapters=chapters)
    remux(file_of_fragments(tmp_path / "job.m4s"), tmp_path / "film.mp4", frames=46, fps=FPS, notes=notes)
    _, _, kept = read(tmp_path / "film.mp4")
    assert (len(kept), {title for _, title in kept}) == (255, {"ü" * 127})


def test_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    """A box of frames is copied in parts: 64 MiB of it pass through a few."""
    path = tmp_path / "take.mp4"
    remux(file_of_fragments(tmp_path / "job.m4s"), path, frames=46, fps=FPS)
    with path.open("ab") as file:
        file.write((64 << 20).to_bytes(4, "big") + b"free")
        file.truncate(file.tell() + (64 << 20) - 8)
    tracemalloc.start()
    finish_film(path, tmp_path / "again.mp4", chapters=NOTES.chapters)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 << 20
    assert len(read(tmp_path / "again.mp4")[0]) == 46
