"""kill -9 at persistence points of a job's life: nothing is lost, nothing doubled, every frame the same."""

import json
import subprocess
import sys

import pytest


def explore(*options: str) -> dict[str, object]:
    """In a process without threads, for it is forked."""
    command = [sys.executable, "-m", "tests.service.jobs.crashing", *options]
    said = subprocess.run(command, check=True, capture_output=True, timeout=600, text=True).stdout
    found: dict[str, object] = json.loads(said.splitlines()[-1])
    return found


def test_a_server_that_is_killed_here_and_there_loses_nothing() -> None:
    found = explore("--first", "4", "--every", "9")
    assert found["wrong"] == []
    assert isinstance(found["killed"], int)
    assert found["killed"] >= 4  # of some 40 points: commits of different rows may come together


@pytest.mark.system
def test_a_server_that_is_killed_at_any_point_loses_nothing() -> None:
    found = explore()
    assert found["wrong"] == []
    assert found["killed"] == found["points"]
    assert isinstance(found["points"], int)
    assert found["points"] >= 30  # 38 to 41 were seen
