"""The shipped weights follow their prompts, and only through cross-attention: read by the detectors, fixed seeds."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.generator import Generator
from models.journal import WeightedPrompt
from models.train.detectors import Detectors
from models.train.evaluate import (
    Adherence,
    evaluation_prompts,
    load_demo,
    make_clips,
    make_detectors,
    make_switched_clip,
    measure_adherence,
    zero_cross_attention,
)
from models.train.export import MOST_BYTES, WEIGHTS_NAME
from models.train.render import Renderer
from models.train.world import SCENES

PROMPTS = 24
DEMO = Path(__file__).parents[3] / "models" / "demo"


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load_demo()


@pytest.fixture(scope="module")
def detectors(generator: Generator, renderer: Renderer) -> Detectors:
    return make_detectors(generator, renderer)[0]


@pytest.fixture(scope="module")
def attributes() -> Tensor:
    return evaluation_prompts(PROMPTS)


def adherence(generator: Generator, detectors: Detectors, attributes: Tensor, blocks: int) -> Adherence:
    return measure_adherence(detectors, make_clips(generator, attributes, blocks=blocks), attributes)


def test_scene_and_time_follow_the_prompt(generator: Generator, detectors: Detectors, attributes: Tensor) -> None:
    found = adherence(generator, detectors, attributes, blocks=2)
    assert found.scene >= 0.9
    assert found.time >= 0.9
    assert found.colour >= 0.8
    assert found.present >= 0.8


def test_a_switch_with_recache_is_followed(generator: Generator, detectors: Detectors) -> None:
    followed = []
    for seed, (first, second) in enumerate((("meadow", "sea"), ("city", "forest"), ("snow", "desert"))):
        old, new = (f"a red ball rests {_scene(name)} by day" for name in (first, second))
        clip = make_switched_clip(generator, old, later=new, seed=seed, before=4, after=3)
        before, after = detectors.read(clip[47:48]), detectors.read(clip[-12:])
        assert int(before.scene[0]) == SCENES.index(first)
        followed.append(float((after.scene == SCENES.index(second)).float().mean()) > 0.5)
    assert sum(followed) >= 2


def _scene(name: str) -> str:
    return {"meadow": "over a grassy meadow", "sea": "over the sea"}.get(name, f"in the {name}")


def test_the_prompt_is_felt_only_through_cross_attention(detectors: Detectors, attributes: Tensor) -> None:
    deaf = load_demo()
    zero_cross_attention(deaf)
    prompts = ("a red ball rests in the snow by day", "a blue star sways over the sea at night")
    first, second = (deaf.start([WeightedPrompt(prompt)], seed=3) for prompt in prompts)
    blocks = [deaf.step(stream) for stream in (first, second)]
    assert blocks[0] is not None
    assert blocks[1] is not None
    assert torch.equal(blocks[0].latents, blocks[1].latents)
    found = adherence(deaf, detectors, attributes, blocks=1)
    assert found.scene <= 0.4
    assert found.time <= 0.55
    assert found.colour <= 0.4


def test_the_weights_are_small() -> None:
    assert (DEMO / WEIGHTS_NAME).stat().st_size <= MOST_BYTES
    assert (DEMO / "train_log.jsonl").stat().st_size < 100_000
