"""The training command: runs a stage from a file, refuses a configuration of another stage."""

from pathlib import Path

import pytest
import torch

from models.train.__main__ import main
from models.train.bundle import DemoSizes, empty_bundle
from models.train.run import CHECKPOINT
from models.vae import LinearCodec

CONFIG = """
stage = "single"
minutes = 0.0
threads = {threads}
sheet_clips = 0
[sizes]
dim = 32
ffn_dim = 48
num_layers = 1
num_heads = 2
text_dim = 12
freq_dim = 16
[pool]
clips = 2
[batch]
single = 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(threads=torch.get_num_threads()))
    return path


def test_a_stage_runs_and_a_sheet_is_made_of_it(config: Path, tmp_path: Path, codec: LinearCodec) -> None:
    bundle = empty_bundle(DemoSizes(dim=32, ffn_dim=48, num_layers=1, num_heads=2, text_dim=12, freq_dim=16), seed=1)
    bundle.codec.load_state_dict(codec.state_dict(), strict=False)
    start, out = tmp_path / "start", tmp_path / "run"
    start.mkdir()
    torch.save({"average": bundle.state()}, start / CHECKPOINT)
    assert main(["single", "--config", str(config), "--out", str(out), "--start", str(start)]) == 0
    assert (out / CHECKPOINT).exists()
    sheet = tmp_path / "sheet.png"
    command = ["single", "--config", str(config), "--out", str(out), "--sheet", str(sheet)]
    assert main(command) == 0
    assert sheet.stat().st_size > 0


def test_a_configuration_of_another_stage_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["causal", "--config", str(config), "--out", str(tmp_path / "run")])
    assert "not 'causal'" in capsys.readouterr().err
