"""The recipe of the published model as the same code: a preset of its layout, prompts from files, adapters, shards.

Small sizes, one process; what the real sizes need of each device is reckoned from shapes alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed

from models.lora import LoraSource, read_lora
from models.pieces import make_transformer
from models.presets import get_preset
from models.train.adapters import AdapterConfig, add_adapters, write_adapters
from models.train.course import CourseConfig
from models.train.distill import DistillTrainer
from models.train.render import Renderer
from models.train.run import CHECKPOINT
from models.train.settings import StageConfig, read_config
from models.train.shard import shard_bytes
from models.transformer import Transformer

RECIPE = Path(__file__).parents[3] / "models" / "train" / "configs" / "longlive-1.3b.toml"
SMALL = """
name = "small"
title = "The published layout, small"
dtype = "float32"
decoder = "tiny"
suggested_prompts = ["a lighthouse at dawn"]
unavailable_reason = "random weights only"

[transformer]
dim = 24
ffn_dim = 32
num_layers = 2
num_heads = 2
text_dim = 16
text_len = 8

[window]
window_frames = 12
sink_frames = 3
block_frames = 3
positions = "relative"

[sampler]
steps = [1000, 500]
shift = 5.0

[video]
width = 64
height = 32
fps = 16
latent_channels = 16

[umt5]
vocabulary = 300
dim = 16
heads = 2
head_dim = 8
ffn_dim = 24
layers = 1

[licence]
name = "none"
url = ""
commercial = false
"""


@pytest.fixture
def alone() -> Iterator[None]:
    """No process group is left behind."""
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


@pytest.fixture
def config(tmp_path: Path) -> StageConfig:
    """The recipe, with a small preset of the same layout and random weights."""
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "small.toml").write_text(SMALL)
    (tmp_path / "prompts.txt").write_text("a lighthouse at dawn\nfog over a grey sea\n")
    (tmp_path / "later.txt").write_text("the lamp begins to turn\na ship comes near\n")
    return replace(
        read_config(RECIPE),
        preset="small",
        preset_dir=str(tmp_path / "presets"),
        random_weights=True,
        device="cpu",
        minutes=10_000,
        adapters=AdapterConfig(rank=4, alpha=4.0),
        course=CourseConfig(streams=1, chunk_blocks=1, overlap_blocks=1, total_blocks=3, switches=True),
        prompts=str(tmp_path / "prompts.txt"),
        later_prompts=str(tmp_path / "later.txt"),
    )


def run(config: StageConfig, folder: Path, renderer: Renderer, *, steps: int, resume: bool = False) -> DistillTrainer:
    trainer = DistillTrainer(config, folder, resume=resume, renderer=renderer)
    trainer.run(last_step=steps)
    return trainer


@pytest.mark.usefixtures("alone")
def test_the_recipe_trains_adapters_of_a_published_layout(
    config: StageConfig, tmp_path: Path, renderer: Renderer
) -> None:
    """Sharded and resumed; what it exports is what the engine reads."""
    assert config.sharded
    run(config, tmp_path / "whole", renderer, steps=3)
    run(config, tmp_path / "parts", renderer, steps=2)
    trainer = run(config, tmp_path / "parts", renderer, steps=3, resume=True)
    whole, parts = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "parts"))
    assert whole["weights"] == {}
    assert whole["average"].keys() == parts["average"].keys()
    assert all(torch.equal(whole["average"][name], parts["average"][name]) for name in whole["average"])
    write_adapters(trainer.generator_net, tmp_path / "lora.safetensors")
    preset = get_preset("small", preset_dir=tmp_path / "presets")
    lora = read_lora(LoraSource(path=tmp_path / "lora.safetensors", rank=4, complete=True), preset.transformer)
    assert any(float(lora.delta(name).abs().max()) > 0 for name in lora.targets)


@pytest.mark.usefixtures("alone")
def test_shards_give_what_whole_networks_give(config: StageConfig, tmp_path: Path, renderer: Renderer) -> None:
    averages = []
    for sharded in (False, True):
        folder = tmp_path / str(sharded)
        averages.append(run(replace(config, sharded=sharded), folder, renderer, steps=1).average())
    for name, tensor in averages[0].items():
        torch.testing.assert_close(averages[1][name], tensor, atol=1e-5, rtol=1e-4)


def real(rank: int) -> Transformer:
    transformer = make_transformer(get_preset("longlive-1.3b"), torch.bfloat16)
    with torch.device("meta"):
        add_adapters(transformer, AdapterConfig(rank=rank, alpha=float(rank)), seed=0)
    return transformer


def test_the_real_sizes_fit_on_eight_devices() -> None:
    """350 million numbers in adapters of rank 256, as published; three networks in 8 GiB on each of eight."""
    recipe = read_config(RECIPE)
    assert (recipe.stage, recipe.preset, recipe.adapters.rank) == ("long", "longlive-1.3b", 256)
    transformer = real(recipe.adapters.rank)
    adapters = sum(parameter.numel() for parameter in transformer.parameters() if parameter.requires_grad)
    assert round(adapters / 1e6) == 350
    one, eight = (
        shard_bytes(transformer, devices=devices, kept=torch.bfloat16, computed=torch.bfloat16) for devices in (1, 8)
    )
    assert abs(eight.weights - one.weights / 8) <= 2
    assert 3 * eight.total < 8 << 30 < 3 * one.total
