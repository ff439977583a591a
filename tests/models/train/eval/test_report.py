"""A report as a table, plots and JSON: what was measured is in it, and what was left out leaves no trace."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from models.errors import ConfigError
from models.train.eval.ablation import Ablation
from models.train.eval.adherence import Adherence, adherence_of, motion_of
from models.train.eval.cases import Case, cases
from models.train.eval.continuity import continuity_of
from models.train.eval.drift import Drift, drift_of
from models.train.eval.plots import check_plots, write_plots
from models.train.eval.report import PARTS, Report, Sizes
from models.train.eval.series import Precision, Steps
from models.train.eval.shares import ratio_of
from models.train.eval.speed import Speed
from models.train.eval.switches import Switches, figures_of
from models.train.eval.tables import markdown_of
from models.train.eval.trust import DetectorAccuracy, Look, Trust, accuracy, confusion
from models.train.world import MOTIONS
from tests.models.train.eval.records import record, showing
from tests.models.train.eval.test_switches import base, to

EMPTY = Report(preset="demo", fingerprint="f00d", clips=8, steps=4)


def adherence() -> Adherence:
    return adherence_of([record(), record()], [Case(1, (0, 0, 0, 0, 0)), Case(2, (1, 0, 0, 0, 0))])


def trusted() -> Trust:
    six, three, four = ([[2] * size] * size for size in (6, 3, 4))
    found = DetectorAccuracy(
        clips=12,
        **dict.fromkeys(("scene", "time", "skyline", "colour", "shape", "motion", "present"), 0.75),
        position=0.5,
        position_error=0.02,
        mean_score=0.7,
        scene_confusion=six,
        time_confusion=three,
        skyline_confusion=six,
        colour_confusion=six,
        shape_confusion=three,
        motion_confusion=four,
    )
    return Trust(found, replace(found, scene=0.25), Look(1.4, 8.4))


@pytest.fixture(scope="module")
def full() -> Report:
    column = [(showing(base(), "scene", value=2, first=12), to(scene=2)), (base(), to(colour=1))]
    switches = Switches(2, list(range(-12, 36)), [figures_of(column)], ratio_of([4.0, 6.0], [2.0, 3.0]))
    drift = drift_of([record(30, every=6)], [Case(1, (0, 0, 0, 0, 0))], engine="as served", fps=12)
    return replace(
        EMPTY,
        trust=trusted(),
        adherence=adherence(),
        deaf=adherence(),
        switches=switches,
        drift=Drift([drift]),
        continuity=continuity_of([record()]),
        steps_series=[Steps(1, adherence()), Steps(2, adherence())],
        windows=[drift],
        precision=[Precision("none", 14_000_000, Speed(90.0, 40), adherence())],
        ablation=[Ablation(12, switches)],
        speed=Speed(94.5, 40),
    )


def test_shares_are_of_what_was_asked_for() -> None:
    found = adherence()
    assert (found.scene.value, found.colour.value, found.present.value) == (1.0, 0.5, 1.0)
    assert found.motion.value == 1.0
    assert found.mean_score == pytest.approx(0.7)


def test_a_motion_is_read_from_the_last_second_and_a_half() -> None:
    """What the object did in the first block does not count."""
    take = record(3)
    moved = tuple(0.1 if frame < 12 else 0.5 for frame in take.read)
    assert MOTIONS[motion_of(replace(take, x=moved))] == "rests"
    swaying = tuple(0.3 + 0.4 * (frame % 24) / 24 for frame in take.read)
    assert MOTIONS[motion_of(replace(take, x=swaying))] == "sways"


def test_confusions_count_by_expected_and_found() -> None:
    import torch

    found, expected = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    assert confusion(found, expected, 2) == [[1, 1], [0, 1]]
    assert accuracy(found, expected) == pytest.approx(2 / 3)


def test_the_table_holds_every_part(full: Report) -> None:
    table = markdown_of(full)
    headings = [line for line in table.splitlines() if line.startswith("## ")]
    assert headings == [
        "## Adherence",
        "## Prompt switches",
        "## Drift",
        "## Continuity",
        "## Steps",
        "## Windows and sinks",
        "## Precision",
        "## The published ablation on this model",
        "## The detectors' confusions",
    ]
    assert "| scene | 1.000 (0.34-1.00) | 1.000 (0.34-1.00) | 0.17 | 0.750 | 0.250 |" in table
    assert "| shape, chance taken out | 1.000 (0.01-1.00) |" in table
    assert "94.5 frames a second" in table
    assert "Rendered clips jump by 1.40" in table
    assert "2.00 (2.00-2.00)" in table
    widths = [[row.count("|") for row in part.splitlines()] for part in table.split("\n\n") if part.startswith("|")]
    assert all(len(set(counts)) == 1 for counts in widths)


def test_what_was_left_out_leaves_no_trace() -> None:
    assert "##" not in markdown_of(EMPTY)
    alone = markdown_of(replace(EMPTY, trust=trusted()))
    assert "## Adherence" in alone
    assert "## Drift" not in alone


def test_the_report_is_one_json_document(full: Report) -> None:
    read = json.loads(full.to_json())
    assert read["adherence"]["colour"]["value"] == 0.5
    assert read["switches"]["modes"][0]["change"] == "recache"
    assert json.loads(EMPTY.to_json())["drift"] is None


def test_plots_are_drawn_of_what_there_is(full: Report, tmp_path: Path) -> None:
    paths = write_plots(full, tmp_path)
    assert [path.name for path in paths] == ["adherence.png", "switches.png", "drift.png", "steps.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (840, 480)
    assert write_plots(EMPTY, tmp_path) == []


def test_plots_without_their_package_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"longtake\[train\]") as refused:
        check_plots()
    assert refused.value.field == "plots"


def test_all_parts_grow_with_the_clips() -> None:
    assert Sizes(clips=512).part(8) == 64
    assert Sizes(clips=3).part(128) == 2
    fields = {part.fills for part in PARTS}
    assert len(fields) == len(PARTS)
    assert fields <= set(Report.__dataclass_fields__)


def test_a_small_evaluation_is_a_part_of_a_large_one() -> None:
    assert cases(8) == cases(64)[:8]
    assert len({case.seed for case in cases(64)}) == 64
