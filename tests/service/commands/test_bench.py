import json
from dataclasses import asdict

import pytest

from models.load import load_generator
from service.commands.bench import (
    BenchReport,
    BlockCost,
    StageFigures,
    figures,
    measure,
    run_bench,
    stages_of,
    table_of,
)
from service.commands.options import BenchOptions, OptionError

STAGES = ["text", "recache", "denoise", "clean", "decode", "encode", "send"]


def cost(**stages: float) -> BlockCost:
    return BlockCost(**(dict.fromkeys(STAGES, 0.0) | stages))


@pytest.mark.parametrize(
    ("spent", "expected"),
    [
        ([], (0, 0.0, 0.0)),
        ([0.0, 0.0], (0, 0.0, 0.0)),
        ([2.0], (1, 2.0, 2.0)),
        ([0.0, 3.0, 1.0], (2, 2.0, 3.0)),
        ([float(value) for value in range(1, 101)], (100, 50.5, 95.0)),
    ],
)
def test_figures_are_of_the_blocks_that_had_something_to_do(
    spent: list[float], expected: tuple[int, float, float]
) -> None:
    assert figures(spent) == StageFigures(*expected)


def test_stages_add_up() -> None:
    stages = stages_of([cost(denoise=10.0, send=1.0), cost(denoise=20.0, recache=5.0)])
    assert list(stages) == [*STAGES, "total"]
    assert stages["total"] == StageFigures(2, 18.0, 25.0)
    assert stages["recache"] == StageFigures(1, 5.0, 5.0)
    assert stages["clean"].blocks == 0


@pytest.fixture(scope="module")
def report() -> BenchReport:
    options = BenchOptions(random_weights=True, blocks=4, warmup=1, switch_every=3)
    return measure(load_generator("demo", random_weights=True, threads=1), options)


def test_every_stage_is_measured(report: BenchReport) -> None:
    blocks = {name: stage.blocks for name, stage in report.stages.items()}
    # One switch, at block 3, is among the four blocks 2 to 5; encoding the first prompt is before them.
    assert blocks == dict.fromkeys([*STAGES, "total"], 4) | {"recache": 1, "text": blocks["text"]}
    assert blocks["text"] >= 1
    assert report.frames == 4 * 12
    assert report.frames_per_second == pytest.approx(12 * report.blocks_per_second, rel=0.01)
    assert report.realtime == pytest.approx(report.frames_per_second / 16, rel=0.01)


def test_parts_are_no_more_than_the_whole(report: BenchReport) -> None:
    parts = sum(report.stages[name].median_ms for name in ("denoise", "clean", "decode", "encode", "send"))
    assert parts < 1.05 * report.stages["total"].p95_ms


def test_report_says_where_it_was_measured(report: BenchReport) -> None:
    machine = report.machine
    assert machine.cores >= 1
    assert machine.threads == 1
    assert machine.torch.startswith("2.")
    assert machine.cpu in table_of(report)


def test_last_line_is_one_document(
    report: BenchReport, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.commands.bench.load_engine", lambda preset, options, settings: None)
    monkeypatch.setattr("service.commands.bench.measure", lambda generator, options, load_seconds: report)
    run_bench(BenchOptions(json=True))
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads(json.dumps(asdict(report)))
    assert out.count("\n") == 1
    assert [line.split()[0] for line in err.splitlines()[5:]] == [*STAGES, "total"]
    run_bench(BenchOptions())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (BenchOptions(blocks=0), "blocks"),
        (BenchOptions(switch_every=0), "switch_every"),
        (BenchOptions(warmup=-1), "warmup"),
    ],
)
def test_wrong_counts_are_named(options: BenchOptions, field: str) -> None:
    with pytest.raises(OptionError) as caught:
        run_bench(options)
    assert (caught.value.code, caught.value.field) == ("field_range", field)
