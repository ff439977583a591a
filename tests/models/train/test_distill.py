"""The stages that learn from a teacher: resumed exactly, gradients cut at the cache, and what is taught is learnt."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.lora import target_shapes
from models.train.adapters import AdapterConfig
from models.train.bundle import DemoSizes, empty_bundle
from models.train.course import CourseConfig
from models.train.distill import DistillTrainer
from models.train.optim import Rates
from models.train.render import Renderer
from models.train.run import CHECKPOINT, LOG
from models.train.settings import DistillConfig, StageConfig
from models.vae import LinearCodec

SIZES = DemoSizes(dim=32, ffn_dim=48, num_layers=2, num_heads=2, text_dim=12, text_len=16, freq_dim=16)
DISTILL = StageConfig(
    stage="distill",
    minutes=10_000,
    log_every=2,
    sheet_clips=0,
    sizes=SIZES,
    course=CourseConfig(streams=2, chunk_blocks=2, total_blocks=2),
    distill=DistillConfig(generator_every=2),
    rates=Rates(adamw=1e-3, warmup_steps=1, decay_share=0.0, average=0.5),
)
LONG = replace(
    DISTILL,
    stage="long",
    course=CourseConfig(streams=2, chunk_blocks=2, overlap_blocks=1, total_blocks=6, switches=True),
)

MakeTrainer = Callable[..., DistillTrainer]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, codec: LinearCodec) -> Path:
    """A run of no steps whose weights give outputs of their own."""
    folder = tmp_path_factory.mktemp("start")
    bundle = empty_bundle(SIZES, seed=1)
    bundle.codec.load_state_dict(codec.state_dict(), strict=False)
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in bundle.transformer.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    torch.save({"average": bundle.state()}, folder / CHECKPOINT)
    return folder


@pytest.fixture
def trainer(start: Path, tmp_path: Path, renderer: Renderer) -> MakeTrainer:
    def make(config: StageConfig, name: str = "run", *, resume: bool = False) -> DistillTrainer:
        return DistillTrainer(replace(config, start=str(start)), tmp_path / name, resume=resume, renderer=renderer)

    return make


ADAPTED = replace(LONG, adapters=AdapterConfig(rank=4, alpha=4.0))


@pytest.mark.parametrize("config", [DISTILL, LONG, ADAPTED], ids=["distill", "long", "adapters"])
def test_a_resumed_run_makes_the_same_weights(trainer: MakeTrainer, tmp_path: Path, config: StageConfig) -> None:
    trainer(config, "whole").run(last_step=5)
    trainer(config, "parts").run(last_step=3)
    trainer(config, "parts", resume=True).run(last_step=5)
    whole, parts = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 5
    trained = ("adapters", "critic_adapters") if config.adapters.rank else ("critic",)
    for kind in ("weights", "average", "teacher", *trained):
        for name, tensor in whole[kind].items():
            assert torch.equal(tensor, parts[kind][name]), (kind, name)
    assert whole["course"]["made"] == parts["course"]["made"]
    assert torch.equal(whole["course"]["keys"], parts["course"]["keys"])


def test_teacher_and_codec_stay_and_the_others_move(trainer: MakeTrainer, start: Path, tmp_path: Path) -> None:
    begun = torch.load(start / CHECKPOINT, weights_only=True)["average"]
    run = trainer(DISTILL)
    run.run(last_step=2)
    weights = run.bundle.state()
    kept = {name for name in weights if torch.equal(weights[name], begun[name])}
    assert all(name in kept for name in weights if not name.startswith("transformer."))
    assert "transformer.head.head.weight" not in kept
    for name, tensor in run.teacher.state_dict().items():
        assert torch.equal(tensor, begun[f"transformer.{name}"]), name
    critic = run.critic.state_dict()
    assert not torch.equal(critic["head.head.weight"], begun["transformer.head.head.weight"])


def test_the_teacher_may_be_another_run(trainer: MakeTrainer, start: Path, tmp_path: Path) -> None:
    """As in long tuning after distillation: what was learnt from data goes on teaching."""
    average = torch.load(start / CHECKPOINT, weights_only=True)["average"]
    other = tmp_path / "other"
    other.mkdir()
    torch.save({"average": {name: tensor + 1 for name, tensor in average.items()}}, other / CHECKPOINT)
    run = trainer(replace(LONG, teacher=str(other)))
    for name, tensor in run.teacher.state_dict().items():
        assert torch.equal(tensor, average[f"transformer.{name}"] + 1), name
    assert torch.equal(run.generator_net.head.head.weight, average["transformer.head.head.weight"])


def test_with_adapters_only_they_are_trained(trainer: MakeTrainer, start: Path) -> None:
    """The weights stay, the average has the adapters' sum in it, under the names of plain weights."""
    begun = torch.load(start / CHECKPOINT, weights_only=True)["average"]
    run = trainer(ADAPTED)
    run.run(last_step=3)
    weights, average = run.weights(), run.average()
    assert weights.keys() == average.keys() == begun.keys()
    assert all(torch.equal(weights[name], begun[name]) for name in begun)
    changed = {name for name in begun if not torch.equal(average[name], begun[name])}
    assert changed == {f"transformer.{name}" for name, _ in target_shapes(run.generator_net.config)}


def test_prompts_come_from_files_where_they_are_named(trainer: MakeTrainer, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red ball rests in the snow by day\n")
    (tmp_path / "later.txt").write_text("a blue ball rests in the snow by day\n")
    named = replace(LONG, prompts=str(tmp_path / "prompts.txt"), later_prompts=str(tmp_path / "later.txt"))
    course = trainer(named).course
    with torch.no_grad():
        course.next_chunk(gradients=False)
    assert [set(prompts) for prompts in course.prompts] == [
        {"a red ball rests in the snow by day"},
        {"a blue ball rests in the snow by day"},
    ]


def test_gradients_end_at_the_cache(trainer: MakeTrainer) -> None:
    """The second block's output depends on the first one's; its gradient does not go through it."""
    run = trainer(DISTILL)
    chunk = run.course.next_chunk(gradients=True)
    first, second = chunk.made.split(3, dim=1)
    assert torch.autograd.grad(second.sum(), first, allow_unused=True) == (None,)
    rollout = run.course.rollout
    assert rollout is not None
    assert not rollout.cache.keys_LBNHD.requires_grad
    assert not any(latents.requires_grad for latents in rollout.history)


def test_the_regression_learns_its_teachers_path(trainer: MakeTrainer, tmp_path: Path) -> None:
    """A generator put aside from its teacher comes back to it."""
    config = replace(
        DISTILL,
        log_every=10,
        distill=DistillConfig(objective="regression", guidance=0.0, generator_every=1, substeps=1),
        rates=Rates(adamw=3e-3, warmup_steps=1, decay_share=0.0, average=0.5),
    )
    run = trainer(config)
    with torch.no_grad():
        run.generator_net.head.head.weight.mul_(0.5)
    run.run(last_step=40)
    losses = [json.loads(line)["generator"] for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert losses[-1] < 0.7 * losses[0]


def test_long_streams_go_on_switch_and_begin_again(trainer: MakeTrainer) -> None:
    course = trainer(LONG).course
    scored, switched, lengths = [], [], []
    with torch.no_grad():
        for _ in range(4):
            chunk = course.next_chunk(gradients=False)
            scored.append((chunk.stretch.latents.shape[1] // 3, chunk.stretch.first_new))
            switched.append(chunk.prompts == course.prompts[1])
            lengths.append(course.made)
    assert scored == [(2, 0), (3, 1), (3, 1), (2, 0)]
    assert lengths == [2, 4, 6, 2]
    assert switched[0] is False
    assert switched[2] is True
