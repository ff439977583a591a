"""The main job end to end: a take directed over the wire is seen to follow its prompts, and can be made again.

The real service with the demo model, the real command line. Counts and equalities only; how fast it is stands in
tests/bench/RESULTS.md.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from models.load import load_generator
from models.train.detectors import Detectors, Reading
from models.train.render import Renderer
from models.train.world import SCENES, TIMES
from models.vae import LinearCodec
from tests.serving import ROOT, running_service

SECONDS = 24
FIRST = ("a red ball bounces over a grassy meadow by day", "meadow", "day")
SWITCHES = (
    (4, "a blue box rests in the snow at sunset", "snow", "sunset"),
    (8, "a yellow star circles over the sea at night", "sea", "night"),
    (12, "a purple ball sways in the city by day", "city", "day"),
    (16, "an orange box bounces in the desert by day", "desert", "day"),
    (20, "a green star rests in the forest at night", "forest", "night"),
)
BLOCKS_TO_FOLLOW = 3
FRAMES_PER_BLOCK = 12


@dataclass(frozen=True)
class Made:
    """What one run of a command left behind."""

    report: dict[str, Any]
    hashes: list[str]
    video: Path
    journal: Path

    @cached_property
    def frames(self) -> torch.Tensor:
        with av.open(str(self.video)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def run_longtake(folder: Path, *words: str) -> Made:
    files = {name: folder / name for name in ("take.mp4", "take.json", "hashes.txt")}
    command = [sys.executable, "-m", "service", *words, "--json", "--out", str(files["take.mp4"])]
    command += ["--save-journal", str(files["take.json"]), "--sha256", str(files["hashes.txt"])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Made(report, files["hashes.txt"].read_text().split(), files["take.mp4"], files["take.json"])


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A take of five prompt switches, directed live, as fast as it is made."""
    cues = [word for at, prompt, _, _ in SWITCHES for word in ("--at", f"{at}s", prompt)]
    with running_service() as address:
        return run_longtake(
            tmp_path_factory.mktemp("streamed"),
            *("stream", "--url", f"ws://{address}", "--pacing", "none", "--seconds", str(SECONDS), "--seed", "3"),
            *("--prompt", FIRST[0], *cues),
        )


@pytest.fixture(scope="module")
def reading(streamed: Made) -> Reading:
    codec = load_generator("demo").parts.decoder
    assert isinstance(codec, LinearCodec)
    return Detectors.calibrate(Renderer(), codec).read(streamed.frames)


def by_block(readings: torch.Tensor) -> list[int]:
    """What most frames of each block are read as; single noisy frames are misread at times."""
    return [int(value) for value in readings.view(-1, FRAMES_PER_BLOCK).mode(dim=1).values]


def test_nothing_is_lost_and_nothing_twice(streamed: Made) -> None:
    report = streamed.report
    assert (report["missing"], report["duplicated"]) == (0, 0)
    assert report["frames"] == SECONDS * 16
    assert report["chunks"] == len(streamed.hashes) == SECONDS * 16 // FRAMES_PER_BLOCK
    assert len(set(streamed.hashes)) == len(streamed.hashes)
    assert streamed.frames.shape == (SECONDS * 16, 3, 96, 96)


def test_every_switch_is_answered(streamed: Made) -> None:
    switches = streamed.report["switches"]
    assert [switch["prompt"] for switch in switches] == [prompt for _, prompt, _, _ in SWITCHES]
    for switch in switches:
        assert 0 <= switch["queued_ms"] <= switch["received_ms"]
        assert switch["applied_ms"] <= switch["received_ms"]
    chunks = [switch["chunk"] for switch in switches]
    assert chunks == sorted(set(chunks))


def test_the_engine_alone_makes_the_same_frames(streamed: Made, tmp_path: Path) -> None:
    made = run_longtake(tmp_path, "generate", "--journal", str(streamed.journal), "--seconds", str(SECONDS))
    assert made.hashes == streamed.hashes
    assert json.loads(made.journal.read_text())["events"] == json.loads(streamed.journal.read_text())["events"]


def test_the_new_scene_is_there_within_three_blocks(streamed: Made, reading: Reading) -> None:
    """Every block from the third after a switch on, until the next switch, as the detector reads most of its frames."""
    scenes, times = by_block(reading.scene), by_block(reading.time)
    starts = [0, *(switch["chunk"] for switch in streamed.report["switches"]), len(streamed.hashes)]
    wanted = [FIRST[1:], *((scene, time) for _, _, scene, time in SWITCHES)]
    for number, (scene, time) in enumerate(wanted):
        settled = starts[number] + (BLOCKS_TO_FOLLOW if number else 0)
        shown = slice(settled, starts[number + 1])
        assert shown.start < shown.stop
        assert {SCENES[found] for found in scenes[shown]} == {scene}, f"switch {number}"
        assert {TIMES[found] for found in times[shown]} == {time}, f"switch {number}"


def test_a_take_scheduled_by_the_server_is_the_engine_s_own(tmp_path: Path) -> None:
    """Prompts that take effect at exact media times make the same frames live and offline."""
    words = ["--prompt", FIRST[0], "--seconds", "6", "--seed", "5", "--transition", "2"]
    words += ["--at", "2s", SWITCHES[0][1], "--at", "4s", SWITCHES[1][1]]
    for name in ("live", "offline"):
        (tmp_path / name).mkdir()
    with running_service() as address:
        live = run_longtake(
            tmp_path / "live",
            *("stream", "--url", f"ws://{address}", "--pacing", "none", "--schedule", "server", *words),
        )
    offline = run_longtake(tmp_path / "offline", "generate", *words)
    assert live.hashes == offline.hashes
