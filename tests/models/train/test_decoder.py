"""The stage `decoder`: it learns, leaves all else alone, resumes exactly; and a run starts from exported weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.config import SamplerConfig
from models.sampler import make_schedule
from models.train.anchored import PairConfig, PairPool
from models.train.bundle import DemoSizes, empty_bundle
from models.train.codec import encode_clips
from models.train.cuts import DecoderBatch, cut_squares, picture_loss
from models.train.decoder import DecoderTrainer
from models.train.export import export
from models.train.optim import Rates
from models.train.render import Renderer
from models.train.run import CHECKPOINT, LOG, load_average
from models.train.settings import StageConfig
from models.vae import LinearCodec

SIZES = DemoSizes(dim=32, ffn_dim=48, num_layers=1, num_heads=2, text_dim=12, text_len=16, freq_dim=16)
TINY = StageConfig(
    stage="decoder",
    minutes=10_000,
    log_every=10,
    sheet_clips=0,
    sizes=SIZES,
    pairs=PairConfig(clips=4, together=2, blocks=2, starts=(0.5, 0.0, 0.0, 0.5)),
    decoder=DecoderBatch(clips=2, crop=4, refresh_every=2),
    rates=Rates(adamw=1e-3, warmup_steps=1, decay_share=0.0, average=0.5),
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, codec: LinearCodec) -> Path:
    folder = tmp_path_factory.mktemp("start")
    bundle = empty_bundle(SIZES, seed=1)
    bundle.codec.load_state_dict(codec.state_dict(), strict=False)
    torch.save({"average": bundle.state()}, folder / CHECKPOINT)
    return folder


def test_a_resumed_run_makes_the_same_decoder(start: Path, tmp_path: Path, renderer: Renderer) -> None:
    config = replace(TINY, start=str(start))
    DecoderTrainer(config, tmp_path / "whole", renderer=renderer).run(last_step=4)
    DecoderTrainer(config, tmp_path / "parts", renderer=renderer).run(last_step=3)
    DecoderTrainer(config, tmp_path / "parts", resume=True, renderer=renderer).run(last_step=4)
    whole, parts = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "parts"))
    begun = load_average(start)
    for name, tensor in whole["average"].items():
        assert torch.equal(tensor, parts["average"][name]), name
        assert torch.equal(tensor, begun[name]) is not name.startswith("codec.network."), name
    assert torch.equal(whole["pairs"]["latents"], parts["pairs"]["latents"])


@torch.no_grad()
def fixed_loss(trainer: DecoderTrainer) -> float:
    cut = cut_squares(DecoderBatch(clips=4, crop=6), trainer.pairs, generator=torch.Generator().manual_seed(9))
    made = trainer.bundle.codec.clip(cut.latents)
    return float(picture_loss(made, cut.frames, mask=cut.masks, object_weight=5.0))


def test_the_decoder_learns(start: Path, tmp_path: Path, renderer: Renderer) -> None:
    config = replace(TINY, start=str(start), decoder=replace(TINY.decoder, refresh_every=1000))
    trainer = DecoderTrainer(config, tmp_path, renderer=renderer)
    begun = fixed_loss(trainer)
    trainer.run(last_step=30)
    assert fixed_loss(trainer) < 0.99 * begun
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert all(line["error"] > 0 and line["linear_error"] > 0 for line in lines)


def test_pairs_mean_the_same_clip(start: Path, renderer: Renderer) -> None:
    """Latents without noise are the codec's own; a rollout's are others, but nearest to their own clip."""
    bundle = empty_bundle(SIZES, seed=1)
    bundle.load(load_average(start))
    schedule = make_schedule(SamplerConfig(steps=(1000, 750, 500, 250), shift=3.0))
    for starts, exact in (((1.0, 0.0, 0.0, 0.0), True), ((0.0, 0.0, 0.0, 1.0), False)):
        config = replace(TINY.pairs, starts=starts, clips=2)
        pool = PairPool(config, renderer, bundle=bundle, schedule=schedule)
        pool.fill(torch.Generator().manual_seed(4))
        own = encode_clips(bundle.codec, pool.frames.float() / 255)
        distance = (pool.latents[:, None].float() - own[None]).abs().mean(dim=(2, 3, 4, 5))
        assert bool((distance.diag() < 0.02).all()) is exact
        assert bool((distance.diag() < distance.flip(1).diag()).all())


def test_squares_are_cut_where_the_object_is(start: Path, renderer: Renderer) -> None:
    bundle = empty_bundle(SIZES, seed=1)
    bundle.load(load_average(start))
    schedule = make_schedule(SamplerConfig(steps=(1000, 750, 500, 250), shift=3.0))
    pool = PairPool(replace(TINY.pairs, starts=(1.0, 0.0, 0.0, 0.0)), renderer, bundle=bundle, schedule=schedule)
    pool.fill(torch.Generator().manual_seed(4))
    generator = torch.Generator().manual_seed(0)
    batch = DecoderBatch(clips=12, crop=6, object_share=1.0)
    around = cut_squares(batch, pool, generator=generator)
    anywhere = cut_squares(replace(batch, object_share=0.0), pool, generator=generator)
    assert around.frames.shape == (12, 6, 4, 3, 48, 48)
    assert float(around.masks.mean()) > 1.3 * float(anywhere.masks.mean())
    made = bundle.codec.clip(around.latents)
    assert float((made - around.frames).abs().mean().detach()) < 0.05  # pixels and latents are of the same square


def test_the_picture_loss_counts_the_object_more() -> None:
    target, mask = torch.zeros(1, 1, 1, 3, 32, 32), torch.zeros(1, 1, 1, 32, 32)
    mask[..., 4:8, 4:8] = 1
    on, off = target.clone(), target.clone()
    on[..., 4:8, 4:8] = 0.5
    off[..., 20:24, 20:24] = 0.5
    on_object, elsewhere = (float(picture_loss(made, target, mask=mask, object_weight=5.0)) for made in (on, off))
    assert abs(on_object / elsewhere - 5) < 1e-3
    assert float(picture_loss(target, target, mask=mask, object_weight=5.0)) == 0


def test_a_run_starts_from_exported_weights(start: Path, tmp_path: Path, renderer: Renderer) -> None:
    """The file holds half precision: what is read is what was exported, rounded."""
    (start / LOG).write_text(json.dumps({"stage": "none"}) + "\n")
    out = tmp_path / "exported"
    out.mkdir()
    export([start], out)
    trainer = DecoderTrainer(replace(TINY, start=str(out)), tmp_path / "run", renderer=renderer)
    for name, tensor in load_average(start).items():
        assert torch.equal(trainer.bundle.state()[name], tensor.half().float()), name
