import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from models.flops import block_flops
from models.load import load_generator
from models.presets import get_preset
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
from service.commands.bench_compare import compare, read_document
from service.commands.bench_rates import PowerMeter
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


def test_a_format_that_there_is_not_is_refused() -> None:
    with pytest.raises(OptionError, match="expected one of jpeg, webp, png, raw, m4s, not gif"):
        run_bench(BenchOptions(format="gif"))


def test_stages_add_up() -> None:
    stages = stages_of([cost(denoise=10.0, send=1.0), cost(denoise=20.0, recache=5.0)])
    assert list(stages) == [*STAGES, "total"]
    assert stages["total"] == StageFigures(2, 18.0, 25.0)
    assert stages["recache"] == StageFigures(1, 5.0, 5.0)
    assert stages["clean"].blocks == 0


@pytest.fixture(scope="module")
def report() -> BenchReport:
    options = BenchOptions(random_weights=True, blocks=4, warmup=1, switch_every=3, starts=2)
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


def test_the_transformer_alone_is_told_beside_what_is_delivered(report: BenchReport) -> None:
    assert report.transformer_frames_per_second > report.frames_per_second
    # Five passes over 108 tokens that see 432, by hand: 6 x (8 x 192^2 - 2 x 192^2 + 2 x 192 x 576) and attention.
    layer = 2 * 108 * (6 * 192**2 + 2 * 192 * 576) + 4 * 108 * 192 * (432 + 24)
    flops = 5 * (6 * layer + 2 * 108 * 192 * 4 * 128)
    assert block_flops(get_preset("demo")) == flops
    passes = 12 / report.transformer_frames_per_second
    assert report.transformer_flops == pytest.approx(flops / passes, rel=0.01)
    assert report.matrix_share == pytest.approx(report.transformer_flops / report.matrix_flops, abs=0.001)
    assert (report.first_chunks.blocks, report.switches.blocks) == (2, 1)
    assert report.first_chunk_ms > 0
    assert report.resident_streams >= 1


def test_two_runs_are_compared(report: BenchReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = asdict(report)
    slower = document | {"frames_per_second": document["frames_per_second"] / 2, "speed": {"fused": "on"}}
    path = tmp_path / "old.json"
    path.write_text("table\n" + json.dumps(slower) + "\n", "utf-8")
    told = compare(read_document(path), document).splitlines()
    assert [line.split()[-1] for line in told if line.startswith("frames_per_second")] == ["2.00x"]
    assert [line.split()[-1] for line in told if line.startswith("denoise")] == ["1.00x"]
    assert told[-1] == "not the same in both: speed"
    for content in ("", "no json", "{}"):
        path.write_text(content, "utf-8")
        with pytest.raises(OptionError) as caught:
            read_document(path)
        assert (caught.value.code, caught.value.field) == ("field_type", "compare")


def test_power_is_told_where_it_can_be_read(tmp_path: Path) -> None:
    energy = tmp_path / "energy_uj"
    cpu = torch.device("cpu")
    assert PowerMeter(cpu, energy=energy).watts() is None
    energy.write_text("1000000")
    meter = PowerMeter(cpu, energy=energy)
    assert meter.watts() == 0
    energy.write_text("3000000")
    watts = meter.watts()
    assert watts is not None
    assert watts > 0
    energy.write_text("5")  # it began again
    assert meter.watts() is None


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
    assert [line.split()[0] for line in err.splitlines()[7:15]] == [*STAGES, "total"]
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
