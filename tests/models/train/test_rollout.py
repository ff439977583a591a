"""Rollouts are inference: a stream in a batch is as alone, and the pass with gradients gives what the cached does."""

import pytest
import torch
from torch import Tensor

from cache.text_kv import TextKeysValues
from models.config import SamplerConfig
from models.sampler import make_schedule
from models.train.bundle import Bundle, DemoSizes, empty_bundle
from models.train.rollout import Rollout, RolloutModel

SIZES = DemoSizes(dim=32, ffn_dim=48, num_layers=2, num_heads=2, text_dim=12, text_len=16, freq_dim=16)
SCHEDULE = make_schedule(SamplerConfig(steps=(1000, 500), shift=3.0))
PROMPTS = ("a red ball rests in the snow by day", "a blue star sways at sea at night")
BLOCKS = 6


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    made = empty_bundle(SIZES, seed=3)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.transformer.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    return made


def text_of(bundle: Bundle, prompts: tuple[str, ...]) -> TextKeysValues:
    tokens = torch.stack([bundle.text_encoder.tokenize(prompt) for prompt in prompts])
    return bundle.transformer.embed_text(bundle.text_encoder(tokens))


def noises(batch: slice) -> list[Tensor]:
    """Noise for every step of every block: of both streams, or of one."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(2, 3, SIZES.channels, 12, 12, generator=generator)[batch] for _ in range(2 * BLOCKS)]


@torch.no_grad()
def roll(bundle: Bundle, prompts: tuple[str, ...], *, batch: slice) -> Tensor:
    """Six blocks with a switch before the fifth."""
    drawn = iter(noises(batch))
    rollout = Rollout(RolloutModel(bundle.transformer, (12, 12)), text=text_of(bundle, prompts))
    made = []
    for block in range(BLOCKS):
        if block == 4:
            rollout.switch(text_of(bundle, prompts[::-1]))
        made.append(rollout.finish(rollout.block(SCHEDULE, lambda: next(drawn))))
    return torch.cat(made, dim=1)


def test_a_stream_of_a_batch_is_as_it_is_alone(bundle: Bundle) -> None:
    """Up to rounding, and the rounding of half precision: products of another shape round differently."""
    both = roll(bundle, (PROMPTS[0], PROMPTS[0]), batch=slice(0, 2))
    alone = roll(bundle, (PROMPTS[0],), batch=slice(1, 2))
    torch.testing.assert_close(both[1:], alone, atol=5e-3, rtol=5e-3)


def test_the_pass_with_gradients_is_the_cached_pass(bundle: Bundle) -> None:
    drawn = iter(noises(slice(0, 2)))
    rollout = Rollout(RolloutModel(bundle.transformer, (12, 12)), text=text_of(bundle, PROMPTS))
    one_step = make_schedule(SamplerConfig(steps=(1000,), shift=3.0))
    for _ in range(BLOCKS):
        noise = next(drawn)
        cached = rollout.block(one_step, lambda: torch.zeros(()), start=noise)
        own = rollout.exit_pass(noise, 1.0)
        torch.testing.assert_close(own, cached, atol=1e-4, rtol=1e-4)
        assert own.requires_grad
        assert not cached.requires_grad
        rollout.finish(own)


@torch.no_grad()
def test_a_cut_forgets_and_a_recache_does_not(bundle: Bundle) -> None:
    fresh = Rollout(RolloutModel(bundle.transformer, (12, 12)), text=text_of(bundle, PROMPTS))
    first = noises(slice(0, 2))[0]
    expected = fresh.block(SCHEDULE, lambda: first)
    for mode, same in (("cut", True), ("recache", False)):
        rollout = Rollout(RolloutModel(bundle.transformer, (12, 12)), text=text_of(bundle, PROMPTS[::-1]))
        rollout.finish(rollout.block(SCHEDULE, lambda: first))
        rollout.switch(text_of(bundle, PROMPTS), mode)  # type: ignore[arg-type]
        assert torch.equal(rollout.block(SCHEDULE, lambda: first), expected) is same
