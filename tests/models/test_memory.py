"""The memory plan is the sum of what is really allocated, and refuses what does not fit with its arithmetic."""

import pytest
import torch

from cache.window import WindowSpec
from models.errors import ConfigError
from models.generator import Generator
from models.memory import MemoryPlan
from models.stream import Stream
from tests.models.engines import make_blocks, make_generator, prompts, small_preset


@pytest.fixture(name="made")
def _made() -> tuple[Generator, Stream]:
    generator = make_generator()
    stream = generator.start(prompts("a red ball"), seed=1)
    make_blocks(generator, stream, 6)
    return generator, stream


def test_a_stream_costs_what_its_tensors_hold(made: tuple[Generator, Stream]) -> None:
    generator, stream = made
    plan = generator.plan_memory(stream, budget_bytes=10**9)
    cache, text = stream.cache, stream.text
    held: list[torch.Tensor] = [cache.keys_LBNHD, cache.values_LBNHD, cache.sink_keys_LBTHD]
    held += [text.keys_LBTHD, text.values_LBTHD, *stream.decoder.memory, *stream.history]
    assert plan.stream_bytes == sum(tensor.nbytes for tensor in held)
    assert plan.weights_bytes == generator.facts().weight_bytes


def test_streams_fill_what_is_left_of_the_budget(made: tuple[Generator, Stream]) -> None:
    generator, stream = made
    plan = generator.plan_memory(stream, budget_bytes=10**9)
    fixed = plan.weights_bytes + plan.workspace_bytes
    for streams in (1, 2, 7):
        for spare in (0, plan.stream_bytes - 1):
            budget = fixed + streams * plan.stream_bytes + spare
            assert generator.plan_memory(stream, budget_bytes=budget).max_streams == streams


def test_no_room_for_one_stream_is_refused_with_the_arithmetic(made: tuple[Generator, Stream]) -> None:
    generator, stream = made
    plan = generator.plan_memory(stream, budget_bytes=10**9)
    budget = plan.weights_bytes + plan.workspace_bytes + plan.stream_bytes - 1
    with pytest.raises(ConfigError, match=f"{budget} bytes.*weights {plan.weights_bytes}") as refused:
        generator.plan_memory(stream, budget_bytes=budget)
    assert refused.value.field == "memory_budget_bytes"


def test_without_a_budget_it_takes_what_is_free(made: tuple[Generator, Stream]) -> None:
    generator, stream = made
    plan: MemoryPlan = generator.plan_memory(stream)
    assert plan.budget_bytes > plan.weights_bytes
    assert plan.max_streams >= 1


def test_a_longer_window_costs_more() -> None:
    costs = []
    for frames in (6, 12):
        generator = make_generator(small_preset(WindowSpec(window_frames=frames)))
        stream = generator.start(prompts("a"), seed=1)
        make_blocks(generator, stream, 1)
        costs.append(generator.plan_memory(stream, budget_bytes=10**9).cache_bytes)
    assert costs[0] < costs[1] < 2 * costs[0]
