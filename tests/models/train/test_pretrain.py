"""The training loop: it learns, stops and resumes exactly, and refuses to overwrite a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from models.train.batches import BatchConfig
from models.train.bundle import DemoSizes, empty_bundle
from models.train.export import thin_log, write_weights
from models.train.optim import orthogonalise
from models.train.pool import PoolConfig
from models.train.pretrain import RowTrainer
from models.train.render import Renderer
from models.train.run import CHECKPOINT, LOG, SHEET, load_average
from models.train.settings import STAGES, StageConfig, parse_config, read_config
from models.vae import LinearCodec

SIZES = DemoSizes(dim=32, ffn_dim=48, num_layers=2, num_heads=2, text_dim=12, text_len=16, freq_dim=16)
TINY = StageConfig(
    stage="causal",
    minutes=10_000,
    log_every=2,
    sheet_clips=0,
    sizes=SIZES,
    pool=PoolConfig(clips=12, blocks=5, switch_share=0.7, fresh=1),
    batch=BatchConfig(single=3, streams=1, switches=1),
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, codec: LinearCodec) -> Path:
    """A run of no steps, so that the codec is fitted once for all tests."""
    folder = tmp_path_factory.mktemp("start")
    bundle = empty_bundle(SIZES, seed=1)
    bundle.codec.load_state_dict(codec.state_dict(), strict=False)
    torch.save({"average": bundle.state()}, folder / CHECKPOINT)
    return folder


def test_a_resumed_run_makes_the_same_weights(start: Path, tmp_path: Path, renderer: Renderer) -> None:
    config = replace(TINY, start=str(start))
    RowTrainer(config, tmp_path / "whole", renderer=renderer).run(last_step=4)
    RowTrainer(config, tmp_path / "parts", renderer=renderer).run(last_step=2)
    RowTrainer(config, tmp_path / "parts", resume=True, renderer=renderer).run(last_step=4)
    whole, parts = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 4
    for kind in ("weights", "average"):
        for name, tensor in whole[kind].items():
            assert torch.equal(tensor, parts[kind][name]), name
    assert torch.equal(whole["generator"], parts["generator"])
    assert torch.equal(whole["pool"]["latents"], parts["pool"]["latents"])


def test_the_log_has_a_line_every_so_many_steps(start: Path, tmp_path: Path, renderer: Renderer) -> None:
    RowTrainer(replace(TINY, start=str(start)), tmp_path / "run", renderer=renderer).run(last_step=4)
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(line["loss"] > 0 and len(line["object_error"]) == 5 for line in lines)


def test_a_sample_sheet_comes_with_a_checkpoint(start: Path, tmp_path: Path, renderer: Renderer) -> None:
    RowTrainer(replace(TINY, start=str(start), sheet_clips=3), tmp_path, renderer=renderer).run(last_step=1)
    with Image.open(tmp_path / SHEET) as sheet:
        assert sheet.size == (4 * 2 * 96, 96)


def test_a_run_is_not_overwritten(start: Path, tmp_path: Path, renderer: Renderer) -> None:
    config = replace(TINY, start=str(start))
    RowTrainer(config, tmp_path, renderer=renderer).run(last_step=1)
    with pytest.raises(ValueError, match="--resume"):
        RowTrainer(config, tmp_path, renderer=renderer)


def test_a_few_steps_lower_the_loss(start: Path, tmp_path: Path, renderer: Renderer) -> None:
    single = replace(
        TINY,
        stage="single",
        start=str(start),
        log_every=10,
        pool=PoolConfig(clips=32, fresh=0),
        batch=BatchConfig(single=16, single_frames=1),
    )
    RowTrainer(single, tmp_path, renderer=renderer).run(last_step=40)
    losses = [json.loads(line)["loss"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert losses[-1] < 0.97 * losses[0]


def test_the_time_budget_ends_a_run(start: Path, tmp_path: Path, renderer: Renderer) -> None:
    trainer = RowTrainer(replace(TINY, start=str(start), minutes=0.0), tmp_path, renderer=renderer)
    trainer.run()
    assert trainer.step == 0
    assert (tmp_path / CHECKPOINT).exists()


def test_weights_are_exported_in_half_precision(start: Path, tmp_path: Path) -> None:
    state = load_average(start)
    size = write_weights(state, tmp_path / "demo.safetensors")
    assert size < 3 * sum(tensor.numel() for tensor in state.values())
    state["codec.mean"] = torch.full_like(state["codec.mean"], 1e6)
    with pytest.raises(ValueError, match=r"codec\.mean"):
        write_weights(state, tmp_path / "demo.safetensors")


def test_a_log_is_thinned_to_its_ends_and_between() -> None:
    lines = [str(number) for number in range(1000)]
    thin = thin_log(lines, most=11)
    assert (len(thin), thin[0], thin[-1]) == (11, "0", "999")
    assert thin_log(lines[:5], most=11) == lines[:5]


def test_orthogonalised_matrices_keep_directions_and_even_out_sizes() -> None:
    stack = torch.randn(2, 12, 20, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(stack))
    assert 0.6 < float(values.min()) < float(values.max()) < 1.3
    torch.testing.assert_close(orthogonalise(stack.mT), orthogonalise(stack).mT)


def test_shipped_configurations_are_valid() -> None:
    folder = Path(__file__).parents[3] / "models" / "train" / "configs"
    stages = {read_config(path).stage for path in folder.glob("*.toml")}
    assert stages <= set(STAGES)
    assert {"single", "causal"} <= stages


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stage": "double"}, "expected stage to be one of"),
        ({"stage": "single", "minuets": 3}, "got minuets"),
        ({"stage": "single", "pool": {"clip": 3}}, r"\[pool\].*got clip"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_config(values, source="here.toml")
