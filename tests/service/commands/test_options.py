import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from service.commands.options import (
    GenerateOptions,
    OptionError,
    StreamOptions,
    TakeOptions,
    TimedPrompt,
    fold_pairs,
    parse_time,
    parse_timed_prompts,
    takes,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Few:
    """Two options and an argument."""

    name: Annotated[str, typer.Argument()]
    count: Annotated[int, typer.Option(help="How many.")] = 3
    words: Annotated[list[str] | None, typer.Option("--word")] = None


def run_few(arguments: list[str]) -> tuple[int, list[Few]]:
    seen: list[Few] = []
    app = typer.Typer()

    @app.command()
    @takes(Few)
    def few(options: Few) -> None:
        """Take a few."""
        seen.append(options)

    return CliRunner().invoke(app, arguments).exit_code, seen


def test_a_dataclass_becomes_options() -> None:
    assert run_few(["one"]) == (0, [Few(name="one")])
    assert run_few(["one", "--count", "5", "--word", "a", "--word", "b"]) == (
        0,
        [Few(name="one", count=5, words=["a", "b"])],
    )


@pytest.mark.parametrize("arguments", [[], ["one", "--count", "many"], ["one", "--other"]])
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    assert run_few(arguments) == (2, [])


def test_takes_keeps_name_and_docstring() -> None:
    def something(options: Few) -> None:
        """Do it."""

    command = takes(Few)(something)
    assert (command.__name__, command.__doc__) == ("something", "Do it.")
    assert list(inspect.signature(command).parameters) == ["name", "count", "words"]


def test_generate_and_stream_share_the_options_of_a_take() -> None:
    assert issubclass(GenerateOptions, TakeOptions)
    assert issubclass(StreamOptions, TakeOptions)


@pytest.mark.parametrize(
    ("arguments", "folded"),
    [
        (["generate", "--at", "4s", "rain"], ["generate", "--at", "4s rain"]),
        (["--at", "4s", "rain", "--at", "8", "sun and sea"], ["--at", "4s rain", "--at", "8 sun and sea"]),
        (["--at", "4s rain", "-o", "a.mp4"], ["--at", "4s rain", "-o", "a.mp4"]),
        (["--at", "soon", "rain"], ["--at", "soon rain"]),
        (["--at", "4s", "--json"], ["--at", "4s", "--json"]),
        (["--at", "4s"], ["--at", "4s"]),
        (["--at"], ["--at"]),
        ([], []),
    ],
)
def test_two_values_are_folded_into_one(arguments: list[str], folded: list[str]) -> None:
    assert fold_pairs(arguments) == folded


@pytest.mark.parametrize(
    ("text", "seconds"), [("4", 4.0), ("4s", 4.0), ("2.5s", 2.5), ("250ms", 0.25), ("1m", 60.0), ("0", 0.0)]
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text, field="at") == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "4 s", "4h", "1e3", ".5", "4s4"])
def test_wrong_times_are_named(text: str) -> None:
    with pytest.raises(OptionError, match="expected a time") as caught:
        parse_time(text, field="at")
    assert (caught.value.code, caught.value.field) == ("time_invalid", "at")


def test_timed_prompts_are_put_in_order() -> None:
    assert parse_timed_prompts(["8s sun", "4s rain  on snow", "4s fog"]) == (
        TimedPrompt(4.0, "rain  on snow"),
        TimedPrompt(4.0, "fog"),
        TimedPrompt(8.0, "sun"),
    )


@pytest.mark.parametrize(("value", "code"), [("4s", "prompt_empty"), ("4s  ", "prompt_empty"), ("x y", "time_invalid")])
def test_wrong_timed_prompts_are_named(value: str, code: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_timed_prompts([value])
    assert (caught.value.code, caught.value.field) == (code, "at")
