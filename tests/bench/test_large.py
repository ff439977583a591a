"""The command that measures `longlive-1.3b --random-weights` on a GPU, at a small size on the CPU."""

import json
import shutil
from pathlib import Path

import pytest

from service.commands.bench import run_bench
from service.commands.options import BenchOptions
from tests.release import NAME, write_release


def test_a_release_without_its_files_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All stages, the time of loading and the peak of memory, of the real layout of every part."""
    release = write_release(tmp_path)
    shutil.rmtree(release.source)
    run_bench(
        BenchOptions(
            preset=NAME, random_weights=True, blocks=3, warmup=0, switch_every=2, preset_dir=release.presets, json=True
        )
    )
    report = json.loads(capsys.readouterr().out)
    assert (report["preset"], report["random_weights"], report["frames"]) == (NAME, True, 36)
    assert report["load_seconds"] > 0
    assert report["peak_bytes"] > 0
    measured = {name for name, stage in report["stages"].items() if stage["blocks"]}
    assert {"text", "recache", "denoise", "clean", "decode", "encode", "total"} <= measured
