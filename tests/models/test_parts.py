"""The parts of an engine: what is computed once, and the helpers that need more than one of them."""

from dataclasses import replace

import pytest
import torch

from cache.window import WindowSpec, WindowState
from models.config import SamplerConfig
from models.parts import Parts
from models.sampler import model_input
from tests.models.engines import make_generator, small_preset


def parts(**changes: object) -> Parts:
    return make_generator(small_preset(**changes)).parts  # type: ignore[arg-type]


def test_the_embedded_timesteps_are_those_of_the_schedule() -> None:
    made = parts(steps=(1000, 750, 250))
    assert len(made.times) == made.schedule.steps == 3
    for timestep, time in zip(made.schedule.timesteps, made.times, strict=True):
        expected = made.passes.embed_timestep(timestep)
        assert torch.equal(time.blocks_BF6C, expected.blocks_BF6C)
        assert torch.equal(time.head_BFC, expected.head_BFC)
    assert torch.equal(made.clean_time.head_BFC, made.passes.embed_timestep(0.0).head_BFC)


def test_the_clean_pass_has_the_timestep_of_the_context() -> None:
    preset = replace(small_preset(), sampler=SamplerConfig(steps=(1000,), context_timestep=20.0))
    made = make_generator(preset).parts
    assert torch.equal(made.clean_time.head_BFC, made.passes.embed_timestep(20.0).head_BFC)


def test_only_edm_has_deviations() -> None:
    assert parts().data_std is None
    made = parts(prediction="edm_x0")
    assert made.data_std is made.passes.transformer.data_std


def test_sizes_of_a_block() -> None:
    assert parts().block_shape == (3, 4, 2, 2)
    two = parts(window=WindowSpec(window_frames=7, sink_frames=2, block_frames=2))
    assert two.block_shape == (2, 4, 2, 2)
    assert (two.dtype, two.device.type) == (torch.float32, "cpu")


@pytest.mark.parametrize("prediction", ["flow", "edm_x0"])
def test_the_network_is_given_latents_in_its_own_dtype(prediction: str) -> None:
    made = parts(prediction=prediction)
    stored = torch.randn(1, 3, 4, 2, 2, generator=torch.Generator().manual_seed(1)).half()
    given = made.network_input(stored, 0.25)
    assert given.dtype == torch.float32
    assert torch.equal(given, model_input(made.prediction, stored.float(), 0.25, made.data_std))


def test_a_rebuild_is_given_clean_latents_as_the_network_takes_them() -> None:
    made = parts(prediction="edm_x0")
    seen: list[torch.Tensor] = []
    made.passes.transformer.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    made.passes.transformer.data_std.fill_(2.0)
    latents = torch.ones(1, 3, 4, 2, 2, dtype=torch.float16)
    text = made.embed_text(made.encode("a red ball"))
    plan = WindowState(made.spec).plan_block()
    made.rebuild(made.passes.new_cache(), plan, frames=lambda first, count: latents, text=text)
    assert torch.equal(seen[0], torch.full((1, 3, 4, 2, 2), 0.5))


@pytest.mark.parametrize(
    ("spec", "blocks"),
    [
        (WindowSpec(), 4),
        (WindowSpec(window_frames=7, sink_frames=2, block_frames=2), 4),
        (WindowSpec(window_frames=6, sink_frames=0), 2),
        (WindowSpec(window_frames=None, sink_frames=0, capacity_frames=10), 4),
    ],
)
def test_the_history_has_room_for_a_window(spec: WindowSpec, blocks: int) -> None:
    history = parts(window=spec).new_history()
    assert (history.maxlen, len(history)) == (blocks, 0)


def test_prompts_are_encoded_and_embedded_for_all_layers() -> None:
    made = parts()
    embedding = made.encode("a red ball")
    assert embedding.shape == (6, 8)
    text = made.embed_text(embedding)
    assert text.keys_LBTHD.shape == (2, 1, 6, 2, 12)
    assert torch.equal(text.keys_LBTHD, made.passes.transformer.embed_text(embedding[None]).keys_LBTHD)
