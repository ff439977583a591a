"""Models of client messages: what they refuse when a program builds them, and how prompts read."""

import math

import pytest
from pydantic import ValidationError

from service.protocol.client import SessionInteraction, SessionStart, WeightedPrompt, is_blank


def test_one_prompt_reads_as_a_blend_of_one() -> None:
    message = SessionStart(prompt="a")
    assert message.weighted_prompts == (WeightedPrompt(text="a", weight=1.0),)
    assert message.prompt_field(0) == "prompt"


def test_a_blend_keeps_its_order_and_weights() -> None:
    prompts = (WeightedPrompt(text="a", weight=0.0), WeightedPrompt(text="b", weight=2.5))
    message = SessionInteraction(event_id="e", prompts=prompts)
    assert message.weighted_prompts == prompts
    assert message.prompt_field(1) == "prompts.1.text"


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_a_weight_is_finite(weight: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        WeightedPrompt(text="a", weight=weight)


@pytest.mark.parametrize("weight", [-0.5, 1e7])
def test_a_weight_has_a_range(weight: float) -> None:
    with pytest.raises(ValidationError, match="Weight 0"):
        SessionStart(prompts=(WeightedPrompt(text="a", weight=weight),))


@pytest.mark.parametrize(
    ("text", "blank"), [("", True), (" \n\u200b\u3000\x07", True), ("é", False), ("\u200ba", False)]
)
def test_blank_is_what_nobody_sees(text: str, blank: bool) -> None:
    assert is_blank(text) is blank
