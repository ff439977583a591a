"""README.md does what it says: every code block is run, every link leads somewhere."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.readme import CodeBlock, code_blocks, link_targets
from tests.serving import running_service

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "README.md").read_text("utf-8")
BLOCKS = code_blocks(PAGE)
ALONE = [block for block in BLOCKS if not block.needs_service]
THROUGH_SERVICE = [block for block in BLOCKS if block.needs_service]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all blocks: what an early one writes, a later one reads. The verbs are planned from here too."""
    path = tmp_path_factory.mktemp("readme")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (path / name).symlink_to(ROOT / name)
    return path


def run_block(block: CodeBlock, folder: Path, script: str) -> None:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    interpreter = [sys.executable] if block.language == "python" else ["bash", "-euo", "pipefail"]
    environment = {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [*interpreter, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, f"README.md line {block.line}:\n{script}\n{run.stdout}\n{run.stderr}"


@pytest.mark.parametrize("block", ALONE, ids=lambda block: f"line-{block.line}")
def test_block_runs(block: CodeBlock, folder: Path) -> None:
    run_block(block, folder, block.script())


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with running_service() as address:
        yield address


@pytest.mark.system
@pytest.mark.parametrize("block", THROUGH_SERVICE, ids=lambda block: f"line-{block.line}")
def test_block_runs_through_a_service(block: CodeBlock, folder: Path, service: str) -> None:
    run_block(block, folder, block.script(service))


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {block.language for block in BLOCKS} == {"sh", "python"}
    assert len(BLOCKS) == PAGE.count("```") // 2
    assert THROUGH_SERVICE


def test_links_lead_somewhere() -> None:
    assert [target for target in sorted(link_targets(PAGE)) if not (ROOT / target).exists()] == []


def test_file_map_names_what_is_there() -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| ")][2:]
    named = [word.strip("`") for row in rows for word in row.replace("]", " ").replace("[", " ").split() if "`" in word]
    assert len(named) > 10
    assert [name.strip("`,") for name in named if not (ROOT / name.strip("`,")).exists()] == []


# The reader of the page, on pages that break it

TWO = "# A\n\n```sh\nmake serve\nmake -n test\n```\n\n```python\nimport a\n```\ncurl http://127.0.0.1:8000/\n"


def test_blocks_are_found() -> None:
    first, second = code_blocks(TWO)
    assert (first.language, first.line, first.needs_service) == ("sh", 3, False)
    assert (second.language, second.text) == ("python", "import a\n")


def test_verbs_are_planned_and_addresses_replaced() -> None:
    assert code_blocks(TWO)[0].script() == "make -n serve\nmake -n test\n"
    block = CodeBlock("sh", "longtake stream --url ws://127.0.0.1:8000 -o a.mp4\n", 1)
    assert block.script("127.0.0.1:9") == "longtake stream --url ws://127.0.0.1:9 -o a.mp4\n"


def test_a_block_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="line 7"):
        run_block(CodeBlock("sh", "false | true\n", 7), tmp_path, "false | true\n")


def test_links_are_found() -> None:
    page = "[a](b/c.md) ![p](d.png) [x](https://example.org) [y](e.md#part)"
    assert link_targets(page) == {"b/c.md", "d.png", "e.md"}
