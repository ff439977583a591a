"""Chapters: the newest prompt that took effect, what was taken back left out."""

import pytest

from models.journal import Event, PromptEvent, TakeEvent, WeightedPrompt
from service.commands.chapters import title_at, title_of


def prompt(block: int, text: str) -> PromptEvent:
    return PromptEvent(block=block, prompts=(WeightedPrompt(text),))


@pytest.mark.parametrize(
    ("events", "titles"),
    [
        ([prompt(0, "a")], "aaaa"),
        ([prompt(0, "a"), prompt(2, "b")], "aabb"),
        ([prompt(0, "a"), prompt(2, "b"), TakeEvent(block=1, take=1)], "aaaa"),
        ([prompt(0, "a"), prompt(1, "b"), TakeEvent(block=2, take=1), prompt(3, "c")], "abbc"),
        ([prompt(0, "a"), TakeEvent(block=0, take=1)], "aaaa"),
        # Taken back before anybody saw it, and changed at an earlier block than before.
        ([prompt(0, "a"), prompt(2, "b"), prompt(1, "c")], "accc"),
    ],
)
def test_titles_of_blocks(events: list[Event], titles: str) -> None:
    assert "".join(title_at(events, block) for block in range(4)) == titles


def test_a_blend_has_all_its_words_and_no_prompt_none() -> None:
    assert title_of((WeightedPrompt("a", 2.0), WeightedPrompt("b"))) == "a + b"
    assert title_at([], 3) == ""
