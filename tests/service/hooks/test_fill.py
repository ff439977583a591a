"""The built-in enhancer: what a prompt leaves out, and what it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.hooks.fill import MOST_WORDS, FillEnhancer, fill, read
from service.hooks.values import PromptContext

BEFORE = "a red ball rests over the sea at sunset"
WOMAN = "A woman in a red coat walks through a market at dawn. The camera follows her. Cinematic."


@pytest.mark.parametrize(
    ("said", "before", "filled"),
    [
        ("it bounces", BEFORE, "a red ball bounces over the sea at sunset"),
        ("bounces in the snow", BEFORE, "a red ball bounces in the snow at sunset"),
        ("it bounces at night", BEFORE, "a red ball bounces over the sea at night"),
        ("a blue cube spins", BEFORE, "a blue cube spins over the sea at sunset"),
        ("now it rolls", BEFORE, "now a red ball rolls over the sea at sunset"),
        (BEFORE, BEFORE, BEFORE),
        ("a dog runs across a field by day", BEFORE, "a dog runs across a field by day"),
        ("night falls", BEFORE, "night falls over the sea"),
        (
            "she runs",
            WOMAN,
            "A woman in a red coat runs through a market at dawn. The camera follows her. Cinematic.",
        ),
        ("Then they are dancing", "Two dogs are running in a park", "Then two dogs are dancing in a park"),
        ("a cat sleeps. Close-up.", WOMAN, "a cat sleeps through a market at dawn. Close-up."),
    ],
)
def test_what_is_left_out_is_taken_from_before(said: str, before: str, filled: str) -> None:
    assert fill(said, before) == filled


async def test_the_first_prompt_stays_as_it_is() -> None:
    context = PromptContext(kind="session", tenant="local")
    assert await FillEnhancer().enhance("it bounces", context) == "it bounces"
    after = PromptContext(kind="session", tenant="local", previous=(BEFORE, "and more"))
    assert await FillEnhancer().enhance("it bounces", after) == "a red ball bounces over the sea at sunset"


def test_it_adds_no_more_than_is_read() -> None:
    long = BEFORE + ". " + " ".join(["word"] * 95) + ". Short end."
    filled = fill("it bounces", long)
    assert filled == "a red ball bounces over the sea at sunset. Short end."
    assert len(filled.split()) <= MOST_WORDS


SAID = ("a", "it", "ball", "snow", "sea", "in", "at", "night", "bounces", "is.", "now", "over", ",", "!", "red", "..")
WORDS = st.sampled_from([*SAID, "İ", "\u200b"])


@given(st.lists(WORDS, max_size=12), st.lists(WORDS, max_size=12))
def test_whatever_is_said_its_words_stay_in_their_order(said: list[str], before: list[str]) -> None:
    text = " ".join(said)
    filled = fill(text, " ".join(before)).split()
    wanted = [word.strip(".!? ") for word in text.split() if word.lower() not in ("it",)]
    rest = iter(word.strip(".!? ") for word in filled)
    assert all(word in rest for word in wanted if word), (text, before, filled)


def test_a_sentence_is_read() -> None:
    found = read("a woman in a red coat walks through a market at dawn")
    assert (found.subject, found.places, found.times) == ("a woman in a red coat", ("through a market",), ("at dawn",))
    assert read("").subject == ""
