"""The project's own files hold together: versions, verbs and notices."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.serving import running_service

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
NAME = re.compile(r"^[A-Za-z0-9_-]+")


def names_of(requirements: list[str]) -> set[str]:
    """Names of requirements, in the one spelling that pip compares by."""
    found = [NAME.match(requirement) for requirement in requirements]
    return {match[0].lower().replace("_", "-") for match in found if match}


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+==[0-9a-z.]+", line) for line in lines), lines
    pairs = [line.split("==") for line in lines]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_everything_that_make_installs_is_pinned() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    chosen = [extras[name] for name in ("test", "system", "dev", "telemetry", "postgres", "cluster")]
    asked = names_of([*PROJECT["project"]["dependencies"], *(line for extra in chosen for line in extra)])
    assert asked - {"longtake", "triton"} <= set(pins())


def test_torch_may_be_a_cpu_build() -> None:
    """A pin with a local label, or one of CUDA's packages, would rule it out."""
    assert pins()["torch"] == "2.13.0"
    assert [name for name in pins() if name.startswith(("nvidia", "triton", "cuda", "xformers"))] == []


def make(*arguments: str) -> str:
    """What make says, without the options of a make that these tests may be run by."""
    outside = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "ARGS", "PIP_INDEX", "PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    command = ["make", "--no-print-directory", *arguments]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return run.stdout


def planned(*arguments: str) -> str:
    return make("--dry-run", "--always-make", *arguments)


@pytest.mark.parametrize("verb", ["serve", "test", "test-system", "lint", "bench"])
def test_verb_installs_what_is_pinned(verb: str) -> None:
    plan = planned(verb)
    assert "-m venv .venv" in plan
    assert "-c constraints.txt -e" in plan
    assert "--index-url" not in plan


def test_another_index_may_be_named() -> None:
    assert "--index-url https://index.example/simple" in planned("serve", "PIP_INDEX=https://index.example/simple")


def test_options_are_handed_on() -> None:
    assert planned("serve", "ARGS=--port 0").splitlines()[-1].endswith("longtake serve --port 0")


@pytest.mark.parametrize(
    ("verb", "selected"), [("test", '-m "not system and not gpu and not slow"'), ("test-system", "-m system")]
)
def test_tests_are_chosen_by_marker(verb: str, selected: str) -> None:
    assert planned(verb).splitlines()[-1].rstrip().endswith(f"pytest {selected}")


def test_every_verb_is_explained() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    verbs = set(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0].split()) - {"help", "clean"}
    listed = make("help")
    assert set(re.findall(r"^make (\S+)", listed, re.MULTILINE)) == verbs


def test_notice_tells_of_the_encoders() -> None:
    notice = (ROOT / "NOTICE").read_text("utf-8")
    assert all(word in notice for word in ("PyAV", "x264", "GNU General Public License"))


@pytest.mark.parametrize("script", [".ci/run", ".ci/smoke", ".ci/system-packages"])
def test_scripts_stop_at_the_first_failure(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert "set -euo pipefail" in path.read_text("utf-8").splitlines()
    subprocess.run(["bash", "-n", str(path)], timeout=60, check=True)


def test_service_that_cannot_start_says_why() -> None:
    with pytest.raises(AssertionError, match="config_invalid"):
        running_service("--set", "colour=red").__enter__()
