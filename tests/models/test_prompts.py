"""The text of a block: weighted means and blends, against a model that walks from block to block."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.journal import Event, PromptEvent, TakeEvent, WeightedPrompt
from models.prompts import embedding_at, target_embedding


def encode(prompt: str) -> Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(sum(map(ord, prompt))))


def event(block: int, *texts: str, transition: int = 0) -> PromptEvent:
    return PromptEvent(block=block, prompts=tuple(map(WeightedPrompt, texts)), transition_chunks=transition)


def close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() < 1e-5)


def walked(events: Sequence[Event], block: int) -> Tensor:
    """Every block in turn: at each event the way begins from what the block before was shown."""
    shown = start = target = encode("nothing")
    step, steps = 0, 1
    for number in range(block + 1):
        before = shown
        for one in events:
            if isinstance(one, PromptEvent) and one.block == number:
                start, step = before, 0
                steps = max(one.transition_chunks, 1) if number > 0 else 1
                total = sum(prompt.weight for prompt in one.prompts)
                target = sum((prompt.weight / total * encode(prompt.text) for prompt in one.prompts), torch.zeros(3, 4))
        step = min(step + 1, steps)
        shown = start + (target - start) * (step / steps)
    return shown


def test_one_prompt_is_its_embedding_whatever_its_weight() -> None:
    for weight in (0.1, 1.0, 7.0):
        assert torch.equal(target_embedding(encode, [WeightedPrompt("sea", weight)]), encode("sea"))


def test_weights_are_shares() -> None:
    mean = 0.25 * encode("sea") + 0.75 * encode("snow")
    for scale in (0.01, 1.0, 1000.0):
        prompts = [WeightedPrompt("sea", scale), WeightedPrompt("snow", 3 * scale)]
        assert close(target_embedding(encode, prompts), mean)


def test_a_share_of_nothing_is_not_felt() -> None:
    prompts = [WeightedPrompt("sea", 0.0), WeightedPrompt("snow", 5e-324)]
    assert torch.equal(target_embedding(encode, prompts), encode("snow"))


def test_a_blend_is_linear_and_arrives() -> None:
    events = [event(0, "sea"), event(5, "snow", transition=4)]
    assert torch.equal(embedding_at(encode, events, block=4), encode("sea"))
    for number, share in enumerate((0.25, 0.5, 0.75)):
        made = embedding_at(encode, events, block=5 + number)
        assert close(made, (1 - share) * encode("sea") + share * encode("snow"))
    for block in (8, 9, 1000):
        assert torch.equal(embedding_at(encode, events, block=block), encode("snow"))


@pytest.mark.parametrize("transition", [0, 1])
def test_a_switch_is_at_once(transition: int) -> None:
    events = [event(0, "sea"), event(5, "snow", transition=transition)]
    assert torch.equal(embedding_at(encode, events, block=4), encode("sea"))
    assert torch.equal(embedding_at(encode, events, block=5), encode("snow"))


def test_a_blend_cut_short_is_where_the_next_begins() -> None:
    events = [event(0, "sea"), event(2, "snow", transition=4), event(4, "city", transition=2)]
    half = 0.5 * encode("sea") + 0.5 * encode("snow")
    assert close(embedding_at(encode, events, block=3), half)
    assert close(embedding_at(encode, events, block=4), 0.5 * half + 0.5 * encode("city"))
    assert torch.equal(embedding_at(encode, events, block=5), encode("city"))


def test_of_several_at_one_block_the_last_counts() -> None:
    """A prompt that was replaced before a block showed it is no place to begin from."""
    events = [event(0, "sea"), event(3, "snow"), event(3, "city", transition=2)]
    assert close(embedding_at(encode, events, block=3), 0.5 * encode("sea") + 0.5 * encode("city"))
    first = [event(0, "sea"), event(0, "snow")]
    assert torch.equal(embedding_at(encode, first, block=0), encode("snow"))


def test_before_the_first_block_there_is_nothing_to_blend_from() -> None:
    events = [event(0, "sea"), event(0, "snow", transition=5)]
    for block in range(6):
        assert torch.equal(embedding_at(encode, events, block=block), encode("snow"))


def test_what_is_to_come_is_not_felt() -> None:
    events = [event(0, "sea"), event(3, "snow", transition=2)]
    for block in range(3):
        assert torch.equal(embedding_at(encode, events, block=block), encode("sea"))


def test_takes_are_no_prompts() -> None:
    plain = [event(0, "sea"), event(2, "snow", transition=4)]
    with_takes: list[Event] = [plain[0], TakeEvent(block=1, take=1), plain[1], TakeEvent(block=3, take=2)]
    for block in range(8):
        assert torch.equal(embedding_at(encode, plain, block=block), embedding_at(encode, with_takes, block=block))


def test_a_timeline_without_a_prompt_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="begins with a prompt"):
        embedding_at(encode, [TakeEvent(block=0, take=1)], block=0)


steps = st.tuples(st.integers(0, 4), st.integers(0, 6), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3))


@settings(max_examples=150)
@given(st.lists(steps, max_size=6))
def test_as_walked_from_block_to_block(history: list[tuple[int, int, list[str]]]) -> None:
    events, block = [event(0, "sea")], 0
    for later, transition, texts in history:
        block += later
        events.append(event(block, *texts, transition=transition))
    for number in range(block + 8):
        assert close(embedding_at(encode, events, block=number), walked(events, number)), f"block {number}"


def test_a_block_asks_for_no_more_prompts_than_it_is_made_of() -> None:
    asked: list[str] = []

    def counting(prompt: str) -> Tensor:
        asked.append(prompt)
        return encode(prompt)

    events = [event(number, f"prompt {number}") for number in range(50)]
    embedding_at(counting, events, block=49)
    assert asked == ["prompt 49"]
