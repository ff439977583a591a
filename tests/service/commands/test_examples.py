"""Every command's help teaches by example, and the examples are lines that the command takes."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from service.cli import app
from service.commands.examples import EXAMPLES
from service.commands.options import fold_pairs


def commands(found: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    inner = getattr(found, "commands", None)
    if inner is None:
        yield name, found
        return
    for word, part in inner.items():
        yield from commands(part, f"{name} {word}".strip())


COMMANDS = dict(commands(typer.main.get_command(app)))
LINES = [(name, line) for name, lines in EXAMPLES.items() for line in lines]


def test_every_command_has_an_example_and_none_is_for_nothing() -> None:
    assert sorted(COMMANDS) == sorted(EXAMPLES)


@pytest.mark.parametrize(("name", "line"), LINES, ids=[line[:60] for _, line in LINES])
def test_an_example_is_a_line_that_the_command_takes(name: str, line: str) -> None:
    program, *words = shlex.split(line)
    depth = len(name.split())
    assert (program, words[:depth]) == ("longtake", name.split())
    COMMANDS[name].make_context(name, fold_pairs(words[depth:]))


def test_an_example_with_an_option_that_is_not_there_would_fail() -> None:
    with pytest.raises(Exception, match="nothing"):
        COMMANDS["bench"].make_context("bench", ["--nothing"])


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"train"}))
def test_help_shows_the_examples(name: str) -> None:
    command = COMMANDS[name]
    text = command.get_help(command.context_class(command, info_name=name))
    assert [line for line in EXAMPLES[name] if f"  {line}\n" not in text + "\n"] == []
