"""A complete small release, from its files at hand to frames over the wire: download, doctor, serve, stream."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.journal import WeightedPrompt
from models.load import LoadOptions, load_engine
from tests.release import NAME, Release, write_release
from tests.serving import ROOT, running_service

PROMPT, LATER = "a red ball in the sea", "a blue ball in the snow"
SECONDS = "3"


class Shelf:
    """The release, and the folder its files are downloaded to."""

    def __init__(self, folder: Path) -> None:
        self.release: Release = write_release(folder / "release")
        self.models = folder / "models"
        self.folders = ("--preset-dir", str(self.release.presets), "--model-dir", str(self.models))

    def run(self, *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
        """The JSON line that the command ends with (nothing where it has none), and what it said beside it."""
        done = subprocess.run(
            [sys.executable, "-m", "service", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stderr
        lines = done.stdout.splitlines()
        return (json.loads(lines[-1]) if lines else {}), done.stderr


@pytest.fixture(scope="module", name="shelf")
def _shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


def test_from_files_to_frames(shelf: Shelf, tmp_path: Path) -> None:
    source = ("--from", str(shelf.release.source), "--offline")
    done, _ = shelf.run("download", NAME, *source, "--accept-licence", *shelf.folders, "--json")
    assert [file["outcome"] for file in done["files"]] == ["copied"] * 6
    found, _ = shelf.run("doctor", NAME, *shelf.folders, "--json", "--device", "cpu")
    assert (found["ok"], found["first_failure"]) == (True, None)

    hashes = tmp_path / "hashes"
    store = ("--set", f"store_dir={tmp_path / 'store'}")
    with running_service("--preset", NAME, "--device", "cpu", *shelf.folders, *store) as address:
        report, _ = shelf.run(
            *("stream", "--preset", NAME, "--url", f"ws://{address}", "--pacing", "none", "--seconds", SECONDS),
            *("--seed", "4", "--schedule", "server", "--prompt", PROMPT, "--at", "1s", LATER),
            *("--json", "--sha256", str(hashes), "--format", "png"),
        )
    assert (report["missing"], report["duplicated"]) == (0, 0)
    assert report["frames"] == 9 + 4 * 12, "whole blocks, the first one shorter, until the length is reached"
    assert hashes.read_text().split() == frames_of_the_engine(shelf, report["chunks"])


def frames_of_the_engine(shelf: Shelf, chunks: int) -> list[str]:
    """What the engine alone makes of the same prompts: the later one at the first block that begins at 1 s or later."""
    options = LoadOptions(model_dir=shelf.models, preset_dir=shelf.release.presets, threads=1)
    generator = load_engine(NAME, options)
    stream = generator.start([WeightedPrompt(PROMPT)], seed=4)
    made, frames, switched = [], 0, False
    for _ in range(chunks):
        if frames >= 16 and not switched:
            generator.set_prompt(stream, [WeightedPrompt(LATER)])
            switched = True
        block = generator.step(stream)
        assert block is not None
        made.append(block.frames_sha256)
        frames += len(block.frames)
    assert switched
    return made
