"""The detectors read rendered clips back, clean and degraded, and are not fooled by an empty scene."""

import pytest
import torch

from models.train.detectors import (
    PRESENT,
    Detectors,
    accuracy,
    confusion,
    fit_classifier,
    measure_detectors,
    read_motion,
)
from models.train.render import Renderer
from models.train.scenery import all_backdrops
from models.train.world import MOTIONS, SCENES
from models.vae import LinearCodec


@pytest.fixture(scope="module")
def detectors(renderer: Renderer, codec: LinearCodec) -> Detectors:
    return Detectors.calibrate(renderer, codec, clips=360)


def test_accuracy_on_clean_clips(detectors: Detectors, renderer: Renderer) -> None:
    found = measure_detectors(detectors, renderer, clips=24, seed=5)
    assert found.scene >= 0.99
    assert found.time >= 0.99
    assert found.colour >= 0.98
    assert found.shape >= 0.95
    assert found.motion >= 0.85
    assert found.present >= 0.9
    assert found.position_within_6_percent >= 0.95
    assert found.skyline >= 0.85


def test_accuracy_on_degraded_clips(detectors: Detectors, renderer: Renderer, codec: LinearCodec) -> None:
    found = measure_detectors(detectors, renderer, clips=24, seed=6, codec=codec)
    assert found.scene >= 0.95
    assert found.time >= 0.95
    assert found.colour >= 0.93
    assert sum(map(sum, found.scene_confusion)) == 24 * 24


def test_a_backdrop_without_an_object_shows_none(detectors: Detectors) -> None:
    pictures = torch.from_numpy(all_backdrops(1)).flatten(0, 2).permute(0, 3, 1, 2)
    reading = detectors.read(pictures)
    assert float(reading.score.max()) < PRESENT
    assert not bool(reading.present.any())
    assert accuracy(reading.scene, torch.arange(len(SCENES)).repeat_interleave(3)) >= 0.9


def test_a_grey_picture_shows_no_object(detectors: Detectors) -> None:
    assert not bool(detectors.read(torch.full((1, 3, 96, 96), 0.5)).present.any())


@pytest.mark.parametrize(
    ("name", "reach_x", "reach_y"),
    [("rests", 0.0, 0.0), ("bounces", 0.0, 0.3), ("circles", 0.2, 0.2), ("sways", 0.3, 0.0)],
)
def test_motion_is_told_by_reach(name: str, reach_x: float, reach_y: float) -> None:
    ramp = torch.linspace(0, 1, 24)
    present = torch.ones(24, dtype=torch.bool)
    assert read_motion(0.3 + reach_x * ramp, 0.3 + reach_y * ramp, present) == MOTIONS.index(name)


def test_confusion_counts_by_expected_and_found() -> None:
    counts = confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2)
    assert counts.tolist() == [[1, 1], [0, 1]]


def test_the_classifier_separates_what_is_separable() -> None:
    classes = torch.arange(60) % 3
    features = torch.nn.functional.one_hot(classes, 3).float() + 0.1
    assert accuracy(fit_classifier(features, classes, 3).scores(features).argmax(dim=1), classes) == 1.0
