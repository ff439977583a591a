"""Two processes train one set of weights on data of their own; alone, nothing is shared."""

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from models.train.bundle import DemoSizes, empty_bundle
from models.train.parallel import as_first, average_gradients, rank
from models.train.run import CHECKPOINT, LOG
from models.vae import LinearCodec

ROOT = Path(__file__).parents[3]
CONFIG = """
stage = "single"
minutes = 0.003
threads = 1
log_every = 1
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
fresh = 1
[batch]
single = 2
single_frames = 1
"""


def test_alone_nothing_changes() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    average_gradients([parameter])
    assert parameter.grad.tolist() == [1.0, 2.0]
    assert as_first(3.5, torch.device("cpu")) == 3.5
    assert rank() == 0


def test_two_processes_make_the_same_weights_of_different_data(tmp_path: Path, codec: LinearCodec) -> None:
    bundle = empty_bundle(DemoSizes(dim=32, ffn_dim=48, num_layers=1, num_heads=2, text_dim=12, freq_dim=16), seed=1)
    bundle.codec.load_state_dict(codec.state_dict(), strict=False)
    start, out, config = tmp_path / "start", tmp_path / "run", tmp_path / "config.toml"
    start.mkdir()
    torch.save({"average": bundle.state()}, start / CHECKPOINT)
    config.write_text(f'start = "{start}"\n{CONFIG}')
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    train = ["-m", "models.train", "single", "--config", str(config), "--out", str(out)]
    done = subprocess.run(launch + train, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(out / name, weights_only=True) for name in (CHECKPOINT, "checkpoint-1.pt"))
    assert first["step"] == second["step"] > 0
    assert first["seconds"] == second["seconds"]
    for name, tensor in first["weights"].items():
        assert torch.equal(tensor, second["weights"][name]), name
    assert not torch.equal(first["weights"]["transformer.head.head.weight"], torch.zeros(256, 32))
    assert not torch.equal(first["pool"]["latents"], second["pool"]["latents"])
    assert len((out / LOG).read_text().splitlines()) == first["step"]
