"""Captions hold only words of the vocabulary, and changes really change."""

import torch

from models.text import WordEncoder
from models.train.bundle import DemoSizes
from models.train.world import (
    LONGEST_CAPTION,
    VALUES,
    VOCABULARY,
    Attributes,
    attributes_of,
    caption,
    change_attributes,
    plain_caption,
    sample_attributes,
    words_of,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_vocabulary_is_small_sorted_and_distinct() -> None:
    assert len(VOCABULARY) < 80
    assert list(VOCABULARY) == sorted(set(VOCABULARY))


def test_captions_stay_inside_the_vocabulary_and_the_text_length() -> None:
    source = generator()
    for row in sample_attributes(500, source):
        words = words_of(caption(attributes_of(row), source))
        assert set(words) <= set(VOCABULARY)
        assert len(words) <= LONGEST_CAPTION <= DemoSizes().text_len


def test_the_encoder_knows_every_word_of_a_caption() -> None:
    encoder = WordEncoder(DemoSizes().text())
    assert encoder.encode("An orange ball, at sunset.").unknown_words == ()
    assert encoder.encode("a red dragon").unknown_words == ("dragon",)


def test_the_plain_caption_reads_like_a_sentence() -> None:
    shown = Attributes(colour=0, shape=0, motion=1, scene=0, time=1)
    assert plain_caption(shown) == "a red ball bounces over a grassy meadow at sunset"


def test_every_value_is_sampled_and_named_differently() -> None:
    rows = sample_attributes(2000, generator())
    for attribute, values in enumerate(VALUES):
        assert set(rows[:, attribute].tolist()) == set(range(len(values)))
    assert len({plain_caption(attributes_of(row)) for row in rows}) > 900


def test_a_change_changes_something_and_stays_in_range() -> None:
    source = generator()
    before = sample_attributes(500, source)
    after = change_attributes(before, source)
    assert bool((before != after).any(dim=1).all())
    assert bool((before == after).any())
    for attribute, values in enumerate(VALUES):
        assert int(after[:, attribute].max()) < len(values)
