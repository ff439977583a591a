"""Figures of switches from records that are made to order: every figure sees its own failing and no other."""

from dataclasses import replace

import pytest

from models.train.eval.cases import Case, SwitchCase, switch_cases
from models.train.eval.switches import AFTER, BEFORE, MODES, figures_of, switch_takes
from models.train.eval.takes import TakeRecord
from models.train.world import COLOUR, SCENE, SHAPE, TIME
from tests.models.train.eval.records import FRAMES, record, showing

ZERO = Case(1, (0, 0, 0, 0, 0))


def to(**changes: int) -> SwitchCase:
    names = ("colour", "shape", "motion", "scene", "time")
    colour, shape, motion, scene, time = (changes.get(name, 0) for name in names)
    return SwitchCase(ZERO, Case(1, (colour, shape, motion, scene, time)))


def base() -> TakeRecord:
    """One block before the switch, three after it, every frame read."""
    return record(1 + AFTER, every=1, change="recache")


@pytest.mark.parametrize(("frame", "there"), [(0, 1.0), (9, 1.0), (10, 1.0), (11, 0.0), (24, 0.0)])
def test_a_new_scene_has_twelve_frames(frame: int, there: float) -> None:
    seen = showing(base(), "scene", value=2, first=FRAMES + frame)
    found = figures_of([(seen, to(scene=2))])
    assert found.new_scene.value == there
    assert found.new_skyline.value == 0.0  # left standing
    assert found.scene_by_frame == [0.0] * (FRAMES + frame) + [1.0] * (36 - frame)


@pytest.mark.parametrize(("frame", "there"), [(20, 1.0), (23, 0.0)])
def test_a_new_colour_has_twenty_four(frame: int, there: float) -> None:
    seen = showing(base(), "colour", value=3, first=FRAMES + frame)
    assert figures_of([(seen, to(colour=3))]).new_colour.value == there


def test_what_is_kept_counts_where_it_was_there_before() -> None:
    lost = showing(base(), "time", value=1, first=FRAMES + 24)
    found = figures_of([(lost, to(scene=1))])
    assert found.kept_each["time"].value == 0.5
    assert found.kept_each["colour"].value == found.kept_each["shape"].value == 1.0
    assert found.kept_each["scene"].total == 0  # the prompt changed it
    assert found.kept.value == pytest.approx(2.5 / 3)
    never = showing(base(), "time", value=1, first=0)
    assert figures_of([(never, to(scene=1))]).kept_each["time"].total == 0


def test_the_jump_is_of_takes_that_keep_their_place() -> None:
    jumps = (*[1.0] * FRAMES, 9.0, *[1.0] * 35)
    stays, goes = replace(base(), jumps=jumps), replace(base(), jumps=tuple(2 * jump for jump in jumps))
    assert figures_of([(stays, to(colour=1)), (goes, to(scene=1))]).jump == 9.0


def test_pairs_come_in_three_kinds() -> None:
    pairs = switch_cases(30)
    for place, thing in zip(pairs[::3], pairs[1::3], strict=True):
        assert not place.keeps(SCENE)
        assert place.keeps(COLOUR)
        assert place.keeps(SHAPE)
        assert thing.keeps_place
        assert not thing.keeps(COLOUR)
    assert sum(not pair.keeps(SCENE) and not pair.keeps(TIME) for pair in pairs[2::3]) >= 3
    assert switch_cases(4) == pairs[:4]


def test_all_modes_go_on_from_one_beginning() -> None:
    (take,) = switch_takes(switch_cases(1))
    assert (take.blocks, take.after) == (BEFORE, AFTER)
    assert [change.name for change in take.changes[:4]] == [change.mode for change in MODES]
    assert take.changes[4].name == "recache, blend of 2"
