"""Every `longtake ...` line in a block of any page of the repository is a command, with options that it has.

That those of README.md and client/README.md run as they stand is in the tests of those two.
"""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from tests.readme import code_blocks

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ("cache", "client", "deploy", "models", "service", ".")
    for path in (ROOT / room).glob("*.md" if room == "." else "**/*.md")
)
LINE = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*longtake (.+)$")


def commands(page: str) -> list[str]:
    """What follows the word `longtake` in the page's blocks of commands; lines that go on are joined."""
    lines = [line for block in code_blocks(page) for line in block.text.replace("\\\n", " ").splitlines()]
    told = [match[1] for line in lines if (match := LINE.match(line.strip()))]
    # What a shell puts in its place is a word like any other here.
    return [re.split(r"(?:^| )[>|] ", re.sub(r'"?\$\([^)]*\)"?', "WORD", words))[0] for words in told]


def refused(words: str) -> str:
    """What is wrong with the words; they are read, and help is all that is done."""
    said = CliRunner().invoke(app, [*shlex.split(words, comments=True), "--help"])
    return "" if said.exit_code == 0 else said.output


def test_pages_are_found() -> None:
    assert {"README.md", "client/README.md", "deploy/README.md", "models/README.md", "service/README.md"} <= set(PAGES)
    assert sum(len(commands((ROOT / page).read_text("utf-8"))) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_told_is_one(page: str) -> None:
    told = commands((ROOT / page).read_text("utf-8"))
    assert {words: why for words in told if (why := refused(words))} == {}


@pytest.mark.parametrize("words", ["strem --seconds 3", "stream --secnds 3", "keys revok 0123456789ab"])
def test_a_command_or_an_option_that_is_not_there_is_found(words: str) -> None:
    assert "No such" in refused(words)
