"""Short parts of the commands that disturb a deployed service, each as a program of its own, as they are used."""

import json
import subprocess
import sys

import pytest

from tests.bench.deployment import HANG, ROOT
from tests.bench.soak import Memory

pytestmark = pytest.mark.system


def figures_of(*words: str) -> dict[str, object]:
    """The last line of a command that has to succeed."""
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * HANG, check=False)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:])
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_rolling_restarts_lose_nothing() -> None:
    figures = figures_of("tests.bench.rolling", "--times", "3")
    assert (figures["restarts"], figures["different"], figures["missing"]) == (3, 0, 0)


def test_on_ray_a_worker_and_a_replica_are_killed_and_nothing_is_lost() -> None:
    figures = figures_of("tests.bench.cluster", "--sessions", "8")
    counts = [figures[name] for name in ("after_worker_killed", "missing", "different", "prompts_lost")]
    assert counts == [8, 0, 0, 0]


def test_growth_is_seen() -> None:
    """The guard of the soak has to trip where memory grows."""
    memory = Memory([(float(second), 100 + second, 100) for second in range(100)])
    assert (memory.growth(1) > 0.02, memory.growth(2)) == (True, 0.0)
