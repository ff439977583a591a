"""The detectors read rendered clips back, clean and degraded, and are not fooled by an empty scene."""

import numpy as np
import pytest
import torch

from models.train.detectors import PRESENT, Detectors, read_motion
from models.train.eval.trust import Trust, accuracy, measure_trust
from models.train.render import Renderer, Script
from models.train.scenery import HORIZON, SIZE, backdrop
from models.train.world import MOTIONS, SCENES, TIMES
from models.vae import LinearCodec

CLIPS = 288


@pytest.fixture(scope="module")
def detectors(renderer: Renderer, codec: LinearCodec) -> Detectors:
    return Detectors.calibrate(renderer, codec, clips=CLIPS)


@pytest.fixture(scope="module")
def backdrops(renderer: Renderer) -> torch.Tensor:
    """[scenes, times, variants, 3, SIZE, SIZE]"""
    return renderer.backdrops.reshape(len(SCENES), len(TIMES), -1, 3, SIZE, SIZE)


@pytest.fixture(scope="module")
def trust(detectors: Detectors, renderer: Renderer, codec: LinearCodec) -> Trust:
    return measure_trust(detectors, renderer, codec=codec, clips=24)


@pytest.mark.parametrize("kind", ["clean", "degraded"])
def test_rendered_clips_are_read_back(trust: Trust, kind: str) -> None:
    found = trust.clean if kind == "clean" else trust.degraded
    assert min(found.scene, found.time, found.skyline, found.colour) >= 0.98
    assert found.position >= 0.98
    assert found.position_error <= 0.02
    assert found.present >= 0.98
    assert found.shape >= 0.94
    assert found.motion >= 0.9
    assert sum(map(sum, found.skyline_confusion)) == 24 * 12
    assert sum(map(sum, found.motion_confusion)) == found.clips == 24
    assert 0.5 < trust.rendered.jump < 3


@pytest.mark.parametrize("ground", ["forest", "meadow", "sea"])
def test_lit_windows_left_standing_are_seen(detectors: Detectors, backdrops: torch.Tensor, ground: str) -> None:
    """A city's skyline over another scene's ground: the skyline is not fooled."""
    night, city = TIMES.index("night"), SCENES.index("city")
    mixed = backdrops[SCENES.index(ground), night].clone()
    rows = slice(0, int(HORIZON * SIZE))
    mixed[:, :, rows] = backdrops[city, night][:, :, rows]
    assert detectors.read(mixed).skyline.tolist() == [city] * 4


def test_an_object_before_the_skyline_changes_nothing(detectors: Detectors, renderer: Renderer) -> None:
    """Circling objects cover a third of the skyline's rows for half of the time."""
    circles = MOTIONS.index("circles")
    rows = [[colour, 0, circles, scene, 0] for scene in range(len(SCENES)) for colour in (0, 3)]
    script = Script(attributes=torch.tensor(rows)[:, None], starts=torch.zeros(len(rows), 1, dtype=torch.int64))
    frames = renderer.render(script, 24, generator=torch.Generator().manual_seed(1)).frames
    found = detectors.read(frames.flatten(0, 1)).skyline
    assert accuracy(found, torch.tensor([row[3] for row in rows]).repeat_interleave(24)) >= 0.99


def test_a_backdrop_without_an_object_shows_none(detectors: Detectors) -> None:
    """Backdrops that no calibration has seen."""
    pairs = [(scene, time) for scene in range(len(SCENES)) for time in range(len(TIMES))]
    drawn = np.stack([backdrop(scene, time, variant=9) for scene, time in pairs])
    reading = detectors.read(torch.from_numpy(drawn).permute(0, 3, 1, 2))
    assert float(reading.score.max()) < PRESENT
    assert not bool(reading.present.any())
    places = torch.tensor([scene for scene, _ in pairs])
    assert accuracy(reading.scene, places) == accuracy(reading.skyline, places) == 1.0


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


def test_every_calibration_is_the_same(renderer: Renderer, codec: LinearCodec) -> None:
    first, second, other = (Detectors.calibrate(renderer, codec, clips=clips).digest for clips in (96, 96, 95))
    assert first == second != other
