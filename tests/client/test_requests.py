"""Requests: what cannot be right is refused before it is sent, with the code that the server would give."""

from typing import Any

import pytest

from client.requests import Media, PromptChange, interaction_message, prompt_text, start_message
from service.errors import ProtocolError
from service.protocol.client import WeightedPrompt

BLEND = (WeightedPrompt(text="fog", weight=2.0), WeightedPrompt(text="sun", weight=1.0))


def start(prompt: Any, **changes: Any) -> Any:
    fields = {"model": "demo", "seed": None, "media": Media(), "pacing": "realtime", "max_seconds": None}
    return start_message(prompt, **(fields | changes))


def test_start_of_one_prompt_and_of_a_blend() -> None:
    message = start("a fox", seed=7, media=Media(format="png", width=96), max_seconds=4.5)
    assert (message.prompt, message.seed, message.format, message.quality) == ("a fox", 7, "png", 85)
    assert (message.width, message.height, message.max_seconds) == (96, None, 4.5)
    assert start(BLEND).prompts == BLEND


def test_interaction_carries_every_field() -> None:
    change = PromptChange(BLEND, mode="cut", sink="refresh", transition_chunks=3, at=2.5)
    message = interaction_message(change, "e1")
    assert (message.event_id, message.mode, message.sink, message.transition_chunks) == ("e1", "cut", "refresh", 3)
    assert (message.prompt, message.prompts, message.at) == (None, BLEND, 2.5)


@pytest.mark.parametrize(
    ("prompt", "changes", "code", "field"),
    [
        (" \u200b", {}, "prompt_empty", "prompt"),
        ((), {}, "field_range", "prompts"),
        ("a fox", {"seed": -1}, "field_range", "seed"),
        ("a fox", {"seed": 1.5}, "field_type", "seed"),
        ("a fox", {"pacing": "slow"}, "field_choice", "pacing"),
        ("a fox", {"media": Media(quality=0)}, "field_range", "quality"),
        ("a fox", {"media": Media(format="gif")}, "field_choice", "format"),  # type: ignore[arg-type]
        ("a fox", {"max_seconds": 0.0}, "field_range", "max_seconds"),
        ("a fox", {"max_seconds": float("nan")}, "json_number_invalid", ""),
    ],
)
def test_starts_that_cannot_be_right(prompt: Any, changes: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        start(prompt, **changes)
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize(
    ("change", "event_id", "code", "field"),
    [
        (PromptChange("a fox", mode="melt"), "e1", "field_choice", "mode"),  # type: ignore[arg-type]
        (PromptChange("a fox", transition_chunks=65), "e1", "field_range", "transition_chunks"),
        (PromptChange("a fox", at=-1.0), "e1", "field_range", "at"),
        (PromptChange("a fox"), "", "field_range", "event_id"),
        (PromptChange((WeightedPrompt(text="a fox", weight=0.0),)), "e1", "weights_invalid", "prompts"),
    ],
)
def test_changes_that_cannot_be_right(change: PromptChange, event_id: str, code: str, field: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        interaction_message(change, event_id)
    assert (refused.value.code, refused.value.field) == (code, field)


def test_length_of_a_prompt_is_the_servers_to_judge() -> None:
    assert start("fox " * 1000).prompt == "fox " * 1000


def test_text_for_people() -> None:
    assert (prompt_text("a fox"), prompt_text(BLEND)) == ("a fox", "fog + sun")
