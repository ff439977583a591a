"""`longtake generate --picture` and `--clip`: what the film begins with, its replay, and what cannot be right."""

from pathlib import Path

import numpy as np
import pytest

from client.recording import TakeFiles
from models.errors import OpeningError, RestoreError
from models.journal import Journal, OpeningEvent
from service.commands.beginning import check_beginning, opening_of
from service.commands.generate import film, plan_of, run_generate
from service.commands.options import OPENING_NOTE, GenerateOptions, OptionError
from service.commands.script import script_of
from tests.models.engines import make_generator
from tests.models.pictures import noise, png, write_film


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(png(noise(40, 20)))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds: 21 frames of it fill two blocks."""
    return write_film(tmp_path / "clip.mkv", np.stack([noise(16, 16, seed=n) for n in range(32)]), fps=16)


def hashes(path: Path) -> list[str]:
    return path.read_text("utf-8").split()


@pytest.mark.parametrize(("kind", "blocks"), [("picture", 1), ("clip", 2)])
def test_a_take_begins_with_it_and_is_replayed_with_it(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, kind: str, blocks: int
) -> None:
    path: Path = request.getfixturevalue(kind)
    engine = make_generator()
    options = GenerateOptions(prompt="a red ball", at=["2s blue sea"], seed=4, **{kind: path})  # type: ignore[arg-type]
    opening = opening_of(engine, options)
    assert opening is not None
    assert len(opening.blocks) == blocks
    assert capsys.readouterr().err.splitlines() == [OPENING_NOTE]
    first, again = (TakeFiles(hashes=tmp_path / f"{n}.sha256", journal=tmp_path / f"{n}.json") for n in (1, 2))
    film(engine, script_of(options), seconds=4.0, files=first, opening=opening)
    shown = engine.start(script_of(options).first.prompts, seed=9, opening=opening)
    made = [engine.step(shown) for _ in range(blocks + 1)]
    digests = [block.frames_sha256 for block in made if block is not None]
    assert hashes(tmp_path / "1.sha256")[:blocks] == digests[:blocks]
    assert hashes(tmp_path / "1.sha256")[blocks] != digests[blocks], "another seed from here on"

    replay = GenerateOptions(journal=tmp_path / "1.json", **{kind: path})  # type: ignore[arg-type]
    plan = plan_of(replay)
    assert isinstance(plan, Journal)
    assert OpeningEvent(blocks=blocks) in plan.events
    check_beginning(replay, plan)
    film(engine, plan, seconds=4.0, files=again, opening=opening_of(engine, replay))
    assert hashes(tmp_path / "2.sha256") == hashes(tmp_path / "1.sha256")
    with pytest.raises(RestoreError, match="latents of block 0 are needed and missing"):
        film(engine, plan, seconds=4.0, files=again)


def test_the_command_films_it_with_the_demo(tmp_path: Path, picture: Path) -> None:
    for name, options in (("with", {"picture": picture}), ("without", {})):
        files = {"sha256": tmp_path / f"{name}.sha256", "save_journal": tmp_path / f"{name}.json"}
        asked = GenerateOptions(prompt="a red ball", seconds=1.0, seed=1, **files, **options)  # type: ignore[arg-type]
        run_generate(asked)
    assert len(hashes(tmp_path / "with.sha256")) == len(hashes(tmp_path / "without.sha256")) == 2
    assert not set(hashes(tmp_path / "with.sha256")) & set(hashes(tmp_path / "without.sha256"))
    assert Journal.from_json((tmp_path / "with.json").read_text("utf-8")).events[1] == OpeningEvent(blocks=1)


def test_without_either_there_is_no_beginning() -> None:
    check_beginning(GenerateOptions(prompt="a red ball"))
    assert opening_of(make_generator(), GenerateOptions(prompt="a red ball")) is None


def test_both_at_once_are_refused(picture: Path, clip: Path) -> None:
    with pytest.raises(OptionError, match="not both") as caught:
        check_beginning(GenerateOptions(prompt="a", picture=picture, clip=clip))
    assert (caught.value.code, caught.value.field) == ("opening_conflict", "clip")


def test_a_missing_file_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    for options in (GenerateOptions(picture=tmp_path / "a.png"), GenerateOptions(clip=tmp_path / "a.png")):
        with pytest.raises(FileNotFoundError, match=r"a\.png"):
            check_beginning(options)


def test_a_journal_says_whether_there_was_one(tmp_path: Path, picture: Path) -> None:
    engine = make_generator()
    for name, opening in (("with", opening_of(engine, GenerateOptions(picture=picture))), ("without", None)):
        stream = engine.start(script_of(GenerateOptions(prompt="a", seed=1)).first.prompts, seed=1, opening=opening)
        (tmp_path / name).write_text(stream.journal.to_json(), "utf-8")
    for name, given, expected in (("with", None, "that the take began with"), ("without", picture, "no --picture")):
        options = GenerateOptions(journal=tmp_path / name, picture=given)
        plan = plan_of(options)
        assert isinstance(plan, Journal)
        with pytest.raises(OptionError, match=expected) as caught:
            check_beginning(options, plan)
        assert caught.value.code == "opening_conflict"


def test_a_file_that_is_neither_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("no picture")
    for options, code in (
        (GenerateOptions(picture=path), "picture_invalid"),
        (GenerateOptions(clip=path), "clip_invalid"),
    ):
        with pytest.raises(OpeningError) as caught:
            opening_of(make_generator(), options)
        assert caught.value.code == code
