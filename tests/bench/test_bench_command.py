"""The benchmark as it is run: a process, a table on stderr, and one JSON document as the last line of stdout."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_last_line_is_the_document() -> None:
    command = [sys.executable, "-m", "service", "bench", "--random-weights", "--json"]
    sizes = ["--blocks", "5", "--warmup", "2", "--switch-every", "3"]
    run = subprocess.run([*command, *sizes], cwd=ROOT, capture_output=True, text=True, timeout=1800, check=True)
    document = json.loads(run.stdout.splitlines()[-1])
    stages = document["stages"]
    assert document["blocks"] == 5
    # Blocks 3 to 7 are measured; blocks 3 and 6 begin under a new prompt.
    assert {name: stage["blocks"] for name, stage in stages.items() if name != "text"} == {
        "recache": 2,
        "denoise": 5,
        "clean": 5,
        "decode": 5,
        "encode": 5,
        "send": 5,
        "total": 5,
    }
    assert all(0 < stage["median_ms"] <= stage["p95_ms"] for stage in stages.values())
    assert 0 < document["outside_products"] < 1
    assert document["machine"]["threads"] == 1
    assert "stage" in run.stderr
