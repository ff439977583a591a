"""The shipped weights follow their prompts, and only through cross-attention: as `longtake eval` films and reads."""

from pathlib import Path

import pytest
import torch

from models.journal import WeightedPrompt
from models.train.eval.adherence import measure_adherence
from models.train.eval.engines import Source, Variant, build_engine
from models.train.eval.runner import Runner
from models.train.eval.series import measure_deaf
from models.train.eval.switches import measure_switches
from models.train.export import MOST_BYTES, WEIGHTS_NAME

CLIPS = 20
DEMO = Path(__file__).parents[4] / "models" / "demo"


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(Source(preset="demo"), tmp_path_factory.mktemp("records"))


def test_takes_follow_their_prompts(runner: Runner) -> None:
    found = measure_adherence(runner, clips=CLIPS)
    assert found.scene.total == CLIPS
    assert found.scene.value >= 0.95
    assert found.time.value >= 0.95
    assert found.colour.value >= 0.85
    assert found.present.value >= 0.85


def test_switches_are_followed(runner: Runner) -> None:
    found = measure_switches(runner, clips=4)
    assert [figures.change for figures in found.modes] == ["recache", "keep", "flush", "cut", "recache, blend of 2"]
    assert found.modes[0].new_scene.value >= 0.75
    assert found.modes[0].scene_by_frame[-1] >= 0.75
    assert found.frames == list(range(-12, 36))
    assert found.cut_over_recache.value > 1


def test_without_text_they_fall_to_chance(runner: Runner) -> None:
    found = measure_deaf(runner, clips=6)
    assert found.scene.value <= 0.5
    assert found.colour.value <= 0.5


def test_the_prompt_is_felt_only_through_cross_attention() -> None:
    deaf = build_engine(Source(preset="demo"), Variant(deaf=True))
    prompts = ("a red ball rests in the snow by day", "a blue star sways over the sea at night")
    first, second = (deaf.step(deaf.start([WeightedPrompt(prompt)], seed=3)) for prompt in prompts)
    assert first is not None
    assert second is not None
    assert torch.equal(first.latents, second.latents)


def test_the_weights_are_small() -> None:
    assert (DEMO / WEIGHTS_NAME).stat().st_size <= MOST_BYTES
    assert (DEMO / "train_log.jsonl").stat().st_size < 100_000
