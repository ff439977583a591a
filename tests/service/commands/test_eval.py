"""`longtake eval`: what cannot be right is said before anything is loaded; a preset without a known world is measured
by what applies; clips for VBench are where it looks for them.
"""

import json
from dataclasses import replace
from pathlib import Path

import av
import pytest

from models.errors import ConfigError
from models.train.eval.plots import EXTRA
from service.commands import eval as command
from service.commands.eval import check, run_eval
from service.commands.options import EvalOptions, OptionError
from service.commands.vbench import SEEDS, clip_name, read_prompts, seed_of

SMALL = """
extends = "demo"
name = "small"
title = "A small model whose world nobody knows"
[transformer]
num_layers = 1
learned_position = [2, 2]
[video]
width = 32
height = 32
"""


@pytest.fixture
def options(tmp_path: Path) -> EvalOptions:
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "small.toml").write_text(SMALL, encoding="utf-8")
    return EvalOptions(
        preset="small", preset_dir=presets, random_weights=True, clips=2, seconds=5.0, out=tmp_path / "out", json=True
    )


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("clips", 1, "field_range"),
        ("jobs", 0, "field_range"),
        ("seconds", 0.5, "field_range"),
        ("samples", 0, "field_range"),
        ("only", ["drift", "beauty"], "field_choice"),
    ],
)
def test_what_cannot_be_right_is_refused(options: EvalOptions, field: str, value: object, code: str) -> None:
    values: dict[str, object] = {field: value}
    with pytest.raises(OptionError) as refused:
        check(replace(options, **values))  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.field) == (code, field)


def test_a_device_that_is_not_there_is_named(options: EvalOptions) -> None:
    with pytest.raises(ConfigError) as refused:
        check(replace(options, device="abacus"))
    assert (refused.value.code, refused.value.field) == ("device_invalid", "device")


def test_weights_that_are_not_there_are_named(options: EvalOptions, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="weights"):
        check(replace(options, weights=tmp_path / "none.safetensors"))


def test_plots_that_cannot_be_drawn_are_refused_first(options: EvalOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def without() -> None:
        raise ConfigError(EXTRA, field="plots")

    monkeypatch.setattr(command, "check_plots", without)
    with pytest.raises(ConfigError, match="--no-plots"):
        run_eval(options)
    assert not options.out.exists()
    check(replace(options, plots=False))


def test_a_model_whose_world_is_not_known_is_measured_by_what_applies(
    options: EvalOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    run_eval(options)
    written = {path.name for path in options.out.iterdir()}
    assert written == {"records", "report.md", "report.json", "drift.png", "takes.png", "long.png"}
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report == json.loads((options.out / "report.json").read_text())
    measured = {name for name, value in report.items() if value is not None}
    assert measured == {"preset", "fingerprint", "clips", "steps", "drift", "continuity", "speed"}
    assert [engine["engine"] for engine in report["drift"]["engines"]] == ["as served", "sink 0"]
    assert report["continuity"]["borders"] == 2 * 11
    table = (options.out / "report.md").read_text()
    assert [line for line in table.splitlines() if line.startswith("##")] == ["## Drift", "## Continuity"]


def test_a_part_that_needs_detectors_is_refused_for_it(options: EvalOptions) -> None:
    with pytest.raises(ConfigError, match="continuity, drift for small, got 'adherence'"):
        run_eval(replace(options, only=["adherence"]))


def test_clips_lie_where_vbench_looks_for_them(options: EvalOptions, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red ball, by day\n\n  a cat's eye.  \na red ball, by day\n", encoding="utf-8")
    asked = replace(options, vbench=prompts, samples=2, clip_seconds=1.0, plots=False)
    run_eval(asked)
    names = [clip_name(prompt, index) for prompt in ("a red ball, by day", "a cat's eye.") for index in (0, 1)]
    assert names[0] == "a red ball, by day-0.mp4"
    assert {path.name for path in options.out.iterdir()} == {*names, SEEDS}
    assert json.loads((options.out / SEEDS).read_text()) == {
        clip_name(prompt, index): seed_of(prompt, index)
        for prompt in ("a red ball, by day", "a cat's eye.")
        for index in (0, 1)
    }
    with av.open(str(options.out / names[0])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 16
    contents = [(options.out / name).read_bytes() for name in names]
    assert len(set(contents)) == 4
    (options.out / names[0]).write_bytes(b"kept")
    (options.out / names[3]).unlink()
    run_eval(asked)
    assert [(options.out / name).read_bytes() for name in names] == [b"kept", *contents[1:]]


@pytest.mark.parametrize(
    ("text", "error"), [("", OptionError), ("a/b\n", OptionError), ("x" * 300, OptionError), (" \n \n", OptionError)]
)
def test_prompts_that_are_no_file_names_are_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(error):
        read_prompts(file)
