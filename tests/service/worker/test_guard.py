"""What the guard sees in a block, what it leaves alone, and what becomes of a block that it finds faulty."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.journal import AttemptEvent
from service.ipc import Failed
from service.worker.engine import Frames
from service.worker.guard import FROZEN_DIFFERENCE, BlockGuard
from tests.service.worker.fake_engine import FakeStream
from tests.service.worker.stage import Stage, start

SHAPE = (12, 96, 96, 3)
Scene = Callable[[np.random.Generator], Frames]


def latents(number: int) -> torch.Tensor:
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(number))


def picture(random: np.random.Generator) -> Frames:
    return random.integers(20, 230, SHAPE, dtype=np.uint8)


def still(_random: np.random.Generator) -> Frames:
    ramp = np.linspace(30, 200, 96, dtype=np.uint8)
    return np.broadcast_to(ramp[None, :, None, None], SHAPE).copy()


def snow(random: np.random.Generator) -> Frames:
    """Half of it as white as white gets."""
    frames = random.integers(200, 256, SHAPE, dtype=np.uint8)
    frames[:, :48] = 255
    return frames


def night(random: np.random.Generator) -> Frames:
    """Black but for a moon."""
    frames = np.zeros(SHAPE, dtype=np.uint8)
    frames[:, 10:30, 10:30] = random.integers(180, 220)
    return frames


def black(_random: np.random.Generator) -> Frames:
    return np.full(SHAPE, 1, dtype=np.uint8)


def saturated(random: np.random.Generator) -> Frames:
    return (random.integers(0, 2, SHAPE, dtype=np.uint8) * 255).astype(np.uint8)


def white(_random: np.random.Generator) -> Frames:
    return np.full(SHAPE, 254, dtype=np.uint8)


def burnt(_random: np.random.Generator) -> Frames:
    """One pure colour all over."""
    return np.broadcast_to(np.array([255, 0, 255], dtype=np.uint8), SHAPE).copy()


def one_black_frame(random: np.random.Generator) -> Frames:
    frames = picture(random)
    frames[5] = 0
    return frames


SCENES: dict[str, Scene] = {"picture": picture, "still": still, "snow": snow, "night": night}
FAULTS: tuple[tuple[Scene, str], ...] = (
    (black, "black"),
    (saturated, "saturated"),
    (white, "saturated"),
    (burnt, "saturated"),
)


@pytest.mark.parametrize("scene", SCENES)
def test_scenes_of_all_kinds_pass_and_faults_among_them_do_not(scene: str) -> None:
    random, guard = np.random.default_rng(1), BlockGuard()
    for number in range(30):
        for spoilt, fault in FAULTS:
            assert guard.check(latents(1000 + number), spoilt(random)) == fault, (scene, number)
        assert guard.check(latents(number), SCENES[scene](random)) is None, number
        guard.accept(latents(number))


def test_one_frame_is_enough() -> None:
    guard = BlockGuard()
    assert guard.check(latents(0), one_black_frame(np.random.default_rng(1))) == "black"


@pytest.mark.parametrize("scene", [snow, night, picture])
def test_another_scene_may_begin_at_any_time(scene: Scene) -> None:
    random, guard = np.random.default_rng(1), BlockGuard()
    for number in range(4):
        assert guard.check(latents(number), picture(random)) is None
        guard.accept(latents(number))
    assert guard.check(latents(5), scene(random)) is None


def test_what_is_black_by_itself_may_stay_so() -> None:
    random, guard = np.random.default_rng(1), BlockGuard()
    assert guard.check(latents(0), black(random)) == "black"
    guard.accept(latents(0))  # as where the guard is told to let it pass
    assert guard.check(latents(1), black(random)) is None


@pytest.mark.parametrize(("share", "fault"), [(0.0, "frozen"), (0.5, "frozen"), (2.0, None)])
def test_a_block_is_frozen_where_its_latents_are_those_before_it_up_to_rounding(
    share: float, fault: str | None
) -> None:
    random, guard = np.random.default_rng(1), BlockGuard()
    first, noise = latents(0), latents(1)
    guard.check(first, still(random))
    guard.accept(first)
    other = first + share * FROZEN_DIFFERENCE * noise * first.square().mean().sqrt() / noise.square().mean().sqrt()
    assert guard.check(other, still(random)) == fault


def test_after_a_jump_the_block_before_it_is_no_measure() -> None:
    random, guard = np.random.default_rng(1), BlockGuard()
    guard.check(latents(0), picture(random))
    guard.accept(latents(0))
    guard.forget()
    assert guard.check(latents(0), picture(random)) is None


def spoil(stage: Stage, *, attempts: int, scene: Scene = black) -> None:
    """Block 2 is faulty so many times."""

    def spoilt(stream: FakeStream, attempt: int) -> Frames | None:
        return scene(np.random.default_rng(1)) if stream.block == 2 and attempt < attempts else None

    stage.engine.spoilt = spoilt


def test_a_faulty_block_is_made_once_more_and_only_that_is_shown() -> None:
    stage = Stage()
    spoil(stage, attempts=1)
    stage.play([start(credits=4)])
    assert [chunk.attempt for chunk in stage.chunks()] == [0, 0, 1, 0]
    assert stage.chunks()[2].events == ('{"type": "attempt", "block": 2, "attempt": 1}',)
    assert AttemptEvent(block=2, attempt=1) in stage.engine.streams[0].log


@pytest.mark.parametrize(("scene", "code"), [(black, "guard_black"), (saturated, "guard_saturated")])
def test_a_block_that_is_faulty_twice_ends_the_session_and_is_not_shown(scene: Scene, code: str) -> None:
    stage = Stage()
    spoil(stage, attempts=2, scene=scene)
    stage.play([start("a", credits=4)])
    (failed,) = stage.of(Failed)
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert len(stage.chunks()) == 2


def test_the_guard_can_be_turned_off() -> None:
    stage = Stage(guard=False)
    spoil(stage, attempts=2)
    stage.play([start(credits=4)])
    assert [chunk.attempt for chunk in stage.chunks()] == [0] * 4
