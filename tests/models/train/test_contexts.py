"""Training streams that keep the last denoising pass: their cache is the one that a stream served so would have."""

import pytest
import torch

from models.config import SamplerConfig
from models.sampler import make_schedule
from models.train.course import Course, CourseConfig
from models.train.prompts import WorldPrompts
from models.train.rollout import LastPass, Rollout, RolloutModel
from tests.models.train.test_rollout import PROMPTS, SIZES, bundle, text_of

ONE = make_schedule(SamplerConfig(steps=(1000,), shift=3.0))
__all__ = ["bundle"]


@torch.no_grad()
def test_what_is_kept_is_the_last_pass(bundle) -> None:  # type: ignore[no-untyped-def]
    draw = torch.Generator().manual_seed(7)
    rollout = Rollout(RolloutModel(bundle.transformer, (12, 12)), text=text_of(bundle, PROMPTS))
    for _ in range(5):
        noise = torch.randn(2, 3, SIZES.channels, 12, 12, generator=draw).half().float()
        made = rollout.block(ONE, lambda: torch.zeros(()), start=noise)
        keys, values = rollout.cache.keys_LBNHD.clone(), rollout.cache.values_LBNHD.clone()
        rollout.finish(made, last=LastPass(noise, 1.0))
        assert torch.equal(rollout.cache.keys_LBNHD, keys)
        assert torch.equal(rollout.cache.values_LBNHD, values)
    assert rollout.window.end == 15


@pytest.mark.parametrize("steps", [(1000,), (1000, 500)], ids=len)
def test_a_course_goes_on_from_the_last_pass(bundle, steps: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    """Beside one that goes on from clean passes: the first block is the same, the cache behind it is not."""
    chunks = []
    for reuse in (True, False):
        course = Course(
            CourseConfig(streams=2, chunk_blocks=1, total_blocks=2, reuse_last_pass=reuse),
            RolloutModel(bundle.transformer, (12, 12)),
            embed=lambda prompts: text_of(bundle, tuple(prompts)),
            prompts=WorldPrompts(),
            schedule=make_schedule(SamplerConfig(steps=steps, shift=3.0)),
            generator=torch.Generator().manual_seed(3),
        )
        first = course.next_chunk(gradients=True)
        assert first.made.requires_grad
        assert course.rollout is not None
        chunks.append((first.made.detach(), course.rollout.cache.keys_LBNHD.clone()))
        course.next_chunk(gradients=False)
    (made, keys), (same, others) = chunks
    assert torch.equal(made, same)
    assert not torch.equal(keys, others)
