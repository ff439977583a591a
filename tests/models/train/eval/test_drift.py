"""Figures of long takes from records made to order."""

from dataclasses import replace

import pytest

from models.presets import DEMO
from models.train.eval.cases import CALM, Case, calm_cases
from models.train.eval.continuity import continuity_of
from models.train.eval.drift import drift_of, pair_of, suggested
from models.train.eval.engines import Variant
from tests.models.train.eval.records import FRAMES, record, showing

FPS = 12
"""One block a second."""
BLOCKS = 120
CASE = Case(1, (0, 0, 0, 0, 0))


def test_drift_is_told_at_a_minute_and_at_the_end() -> None:
    take = replace(record(BLOCKS, every=6), drift=tuple(float(block) for block in range(1, BLOCKS + 1)))
    found = drift_of([take], [CASE], engine="e", fps=FPS)
    assert found.seconds == BLOCKS
    assert found.drift_minute == pytest.approx(59.0)  # of the seconds 57 to 60
    assert found.drift_end == pytest.approx(119.0)
    assert found.at_seconds[-1] == BLOCKS


def test_the_worst_take_is_told_beside_the_mean() -> None:
    calm, wild = record(BLOCKS, every=6), replace(record(BLOCKS, every=6), drift=(8.0,) * BLOCKS)
    found = drift_of([calm, wild], [CASE, CASE], engine="e", fps=FPS)
    assert (found.drift_end, found.worst_end) == (4.0, 8.0)


def test_the_last_ten_seconds_are_held_against_the_first() -> None:
    take = showing(record(BLOCKS, every=6), "scene", value=4, first=(BLOCKS - 5) * FRAMES)
    found = drift_of([take], [CASE], engine="e", fps=FPS)
    assert (found.right["scene"].first, found.right["scene"].last) == (1.0, 0.5)
    assert (found.right["colour"].first, found.right["colour"].last) == (1.0, 1.0)
    assert found.collapsed == 0
    gone = showing(take, "scene", value=4, first=(BLOCKS - 6) * FRAMES)
    assert drift_of([gone], [CASE], engine="e", fps=FPS).collapsed == 1


def test_a_model_whose_world_is_not_known_has_no_readings() -> None:
    found = drift_of([record(8)], None, engine="e", fps=FPS)
    assert (found.right, found.collapsed, found.drift_minute) == ({}, 0, 0.0)
    assert [prompt for prompt, _ in suggested(DEMO, 8)][:2] == list(DEMO.suggested_prompts[:2])


def test_sink_and_no_sink_have_the_same_window() -> None:
    served, other = pair_of(DEMO)
    assert (served, other) == (Variant(), Variant(sink_frames=0))


def test_calm_prompts_leave_the_skyline_alone() -> None:
    chosen = calm_cases(12)
    assert {case.truth[2] for case in chosen} == set(CALM)
    assert calm_cases(3) == chosen[:3]


def test_borders_are_held_against_what_is_inside() -> None:
    take = record(4)
    jumps = tuple(6.0 if frame in take.starts[1:] else 2.0 for frame in range(len(take.jumps)))
    found = continuity_of([replace(take, jumps=jumps)] * 2)
    assert (found.takes, found.borders, found.inside, found.border, found.border_ratio) == (2, 6, 2.0, 6.0, 3.0)
    assert found.cuts == 0
    cut = tuple(60.0 if frame == 24 else jump for frame, jump in enumerate(jumps))
    assert continuity_of([replace(take, jumps=cut)]).cuts == 1
