from pathlib import Path

import pytest
import typer

from models.errors import WeightsError
from service.commands.options import OptionError
from service.commands.train import run_train


def test_wrong_recipe_has_a_code(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('stage = "single"\ncolour = "red"\n')
    with pytest.raises(OptionError, match="colour") as caught:
        run_train(["single", "--config", str(recipe), "--out", str(tmp_path / "run")])
    assert (caught.value.code, caught.value.field) == ("recipe_invalid", "train")


def test_words_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def train(arguments: list[str]) -> int:
        seen.append(arguments)
        return 0

    monkeypatch.setattr("service.commands.train.train", train)
    run_train(["single", "--out", "a"])
    assert seen == [["single", "--out", "a"]]


def test_exit_code_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.commands.train.train", lambda arguments: 3)
    with pytest.raises(typer.Exit) as caught:
        run_train([])
    assert caught.value.exit_code == 3


def test_engine_errors_keep_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(arguments: list[str]) -> int:
        raise WeightsError("not whole")

    monkeypatch.setattr("service.commands.train.train", refuse)
    with pytest.raises(WeightsError):
        run_train([])
