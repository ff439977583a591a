"""Sessions that start from a picture, in the worker: with the real engine, small, and its latents in files."""

from pathlib import Path

import msgspec
import pytest

from models.errors import OpeningError
from models.generator import Generator
from service.errors import ErrorCode
from service.ipc import Course, CourseBlock, Credit, Ended, Failed, Rewind, Start, Started, Stop
from service.latent_files import opening_path
from service.worker.latents import LatentFiles, OpeningLatents
from tests.models.engines import make_blocks, make_generator, prompts
from tests.models.pictures import noise, png
from tests.service.worker.stage import Stage, start

PICTURE = png(noise(24, 16))
BLOCKS = 5


def from_picture(**changes: object) -> Start:
    asked = start(text="a red ball", credits=BLOCKS, pacing="none")
    return msgspec.structs.replace(asked, picture=PICTURE, **changes)


def film(store: Path, *acts: list[object], generator: Generator | None = None, places: int = 4096) -> Stage:
    # Random weights make what the guard is there for.
    stage = Stage(store=store, generator=generator or make_generator(), places=places, guard=False)
    stage.play(*acts)  # type: ignore[arg-type]
    return stage


def hashes(stage: Stage, session: str = "s") -> list[str]:
    return [chunk.frames_sha256 for chunk in stage.chunks(session)]


def expected() -> list[str]:
    """What the engine itself makes of it."""
    generator = make_generator()
    stream = generator.start(prompts("a red ball"), seed=7, opening=generator.picture_opening(PICTURE))
    return [block.frames_sha256 for block in make_blocks(generator, stream, BLOCKS)]


def course_of(stage: Stage, blocks: int, *, sequence: int) -> Course:
    ended = stage.of(Ended)[0]
    assert isinstance(ended, Ended)
    made = tuple(CourseBlock(chunk.sequence, len(chunk.frames)) for chunk in stage.chunks()[:blocks])
    return Course(journal=ended.journal, blocks=made, sequence=sequence)


def test_the_picture_is_the_first_chunk_and_its_event_goes_with_it(tmp_path: Path) -> None:
    stage = film(tmp_path, [from_picture()], [Stop(session="s")])
    assert hashes(stage) == expected()
    first, *later = stage.chunks()
    assert [(chunk.sequence, chunk.block, chunk.take) for chunk in stage.chunks()] == [(n, n, 0) for n in range(BLOCKS)]
    assert [len(chunk.frames) for chunk in stage.chunks()] == [9, 12, 12, 12, 12]
    assert any('"type": "opening"' in event for event in first.events)
    assert not any("opening" in event for chunk in later for event in chunk.events)
    assert opening_path(tmp_path, "s", block=0).is_file()


@pytest.mark.parametrize("blocks", range(BLOCKS))
def test_another_worker_goes_on_from_any_block(tmp_path: Path, blocks: int) -> None:
    before = film(tmp_path, [from_picture()], [Stop(session="s")])
    course = course_of(before, blocks, sequence=BLOCKS)
    again = msgspec.structs.replace(from_picture(), picture=None, prompts=(), course=course)
    after = film(tmp_path, [msgspec.structs.replace(again, credits=BLOCKS - blocks)], [Stop(session="s")])
    assert hashes(before)[:blocks] + hashes(after) == expected()
    assert [chunk.sequence for chunk in after.chunks()] == list(range(BLOCKS, 2 * BLOCKS - blocks))


def test_a_rewind_to_the_beginning_shows_the_picture_again(tmp_path: Path) -> None:
    stage = film(
        tmp_path,
        [msgspec.structs.replace(from_picture(), credits=3)],
        [Rewind(session="s", block=0, take=1, event_id="back"), Credit(session="s", chunks=2)],
        [Stop(session="s")],
    )
    shown = hashes(stage)
    assert shown[:3] == expected()[:3]
    assert [shown[3] == shown[0], shown[4] == shown[1]] == [True, False]
    assert [(chunk.block, chunk.take) for chunk in stage.chunks()[3:]] == [(0, 1), (1, 1)]


def test_sessions_that_take_turns_keep_their_openings(tmp_path: Path) -> None:
    names = ("s", "t", "u")
    starts = [msgspec.structs.replace(from_picture(), session=name) for name in names]
    stage = film(tmp_path, [*starts], [Stop(session=name) for name in names], places=1)
    for name in names:
        assert hashes(stage, name) == expected()


def test_a_picture_that_cannot_be_read_refuses_the_start(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(from_picture(), picture=PICTURE[:40])
    stage = film(tmp_path, [broken], [msgspec.structs.replace(from_picture(), credits=1)], [Stop(session="s")])
    failed = stage.of(Failed)[0]
    assert isinstance(failed, Failed)
    assert (failed.code, failed.field) == (ErrorCode.PICTURE_INVALID, "picture")
    assert len(stage.of(Started)) == 1
    assert hashes(stage) == expected()[:1]


def test_the_opening_is_read_from_its_own_files(tmp_path: Path) -> None:
    generator = make_generator()
    blocks = generator.picture_opening(PICTURE).blocks
    files = LatentFiles(tmp_path, "s")
    files.store_opening(blocks)
    assert OpeningLatents(files)[0].equal(blocks[0])
    with pytest.raises(KeyError):
        OpeningLatents(files)[1]
    with pytest.raises(OpeningError):
        generator.picture_opening(b"")
