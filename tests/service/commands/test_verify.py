"""The command `verify`: what it prints, its one line of JSON, and its exit code."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from models.load import load_generator
from models.verify import Finding
from service.commands import verify as command
from service.commands.options import OptionError, VerifyOptions
from service.commands.verify import OWN_REFERENCE, line_of, reference_folder, run_verify


def checks(*passed: bool) -> object:
    def fake(*_args: object, **_options: object) -> Iterator[Finding]:
        for number, right in enumerate(passed):
            yield Finding(f"check {number}", 0.0 if right else 2.0, 1.0, "of something")

    return fake


@pytest.fixture(autouse=True)
def _an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load_generator("demo", random_weights=True)
    monkeypatch.setattr(command, "load_engine", lambda preset, options, settings: generator)


def test_all_right(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "verify", checks(True, True))
    run_verify(VerifyOptions())
    assert capsys.readouterr().out.splitlines()[-1] == "all is as it should be"


def test_what_is_wrong_is_named_and_told_by_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "verify", checks(True, False, True))
    with pytest.raises(typer.Exit) as left:
        run_verify(VerifyOptions(json=True))
    assert left.value.exit_code == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert (report["preset"], report["passed"]) == ("demo", False)
    assert [check["passed"] for check in report["checks"]] == [True, False, True]
    assert report["engine"]["model"] == "demo"
    assert printed.err.splitlines()[-1] == "not as it should be: check 1"


def test_a_line_says_how_far_apart() -> None:
    line = line_of(Finding("recache", 0.25, 0.125, "a share"))
    assert line.split() == ["FAILS", "recache", "0.25", "limit", "0.125", "a", "share"]


def test_the_reference(tmp_path: Path) -> None:
    assert reference_folder(None) == OWN_REFERENCE
    assert reference_folder(tmp_path) == tmp_path
    with pytest.raises(OptionError) as refused:
        reference_folder(tmp_path / "none")
    assert (refused.value.code, refused.value.field) == ("folder_missing", "reference")
