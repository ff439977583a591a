"""What is suggested can be drawn: the preset's prompts, and every prompt that a page of documentation shows."""

import re
from pathlib import Path

import pytest

from models.presets import DEMO
from models.train.world import ATTRIBUTES, PHRASES, VALUES, VOCABULARY, words_of

ROOT = Path(__file__).parents[3]
PAGES = ("README.md", "models/README.md", "client/README.md", "service/README.md", "client/web/index.html")
SHOWN = re.compile(
    r"""(?: --prompt \s | --at \s [\d.]+m?s \s | session\.start\( | session\.prompt\( | "prompt":\s | WeightedPrompt\( )
        "([^"]+)" """,
    re.VERBOSE,
)


def drawn(prompt: str) -> dict[str, set[str]]:
    """For every attribute the values that the prompt names by one of their phrases."""
    text = f" {' '.join(words_of(prompt))} "
    return {
        name: {
            value
            for value, phrases in zip(values, PHRASES[attribute], strict=True)
            if any(f" {' '.join(words_of(phrase))} " in text for phrase in phrases)
        }
        for attribute, (name, values) in enumerate(zip(ATTRIBUTES, VALUES, strict=True))
    }


def prompts_shown() -> list[tuple[str, str]]:
    return [(page, prompt) for page in PAGES for prompt in SHOWN.findall((ROOT / page).read_text("utf-8"))]


def assert_inside(prompt: str) -> None:
    """One value of every attribute, and no word that is not known."""
    assert {name: len(values) for name, values in drawn(prompt).items()} == dict.fromkeys(ATTRIBUTES, 1), prompt
    assert set(words_of(prompt)) <= set(VOCABULARY)


def test_the_preset_suggests_what_it_can_draw() -> None:
    assert len(DEMO.suggested_prompts) >= 3
    for prompt in DEMO.suggested_prompts:
        assert_inside(prompt)


def test_pages_show_what_it_can_draw() -> None:
    shown = prompts_shown()
    assert {page for page, _ in shown} == {page for page in PAGES if page.endswith("README.md")}
    for _, prompt in shown:
        assert_inside(prompt)


@pytest.mark.parametrize(
    "prompt", ["a lighthouse at dusk", "a red ball bounces in the snow", "a red blue ball rests at sea by day"]
)
def test_a_prompt_outside_is_seen_to_be(prompt: str) -> None:
    with pytest.raises(AssertionError):
        assert_inside(prompt)
