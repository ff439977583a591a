"""Prompts for self-made streams: captions of the world, or files whose lines belong together."""

from pathlib import Path

import pytest
import torch

from models.train.prompts import PromptFiles, WorldPrompts
from models.train.world import VOCABULARY, words_of


def test_the_world_gives_captions_in_its_own_words() -> None:
    first, second = WorldPrompts().draw(6, torch.Generator().manual_seed(1))
    assert len(first) == len(second) == 6
    assert set(first) != set(second)
    assert {word for text in (*first, *second) for word in words_of(text)} <= set(VOCABULARY)


def test_a_prompt_is_drawn_with_what_it_changes_to(tmp_path: Path) -> None:
    prompts, later = tmp_path / "prompts.txt", tmp_path / "later.txt"
    prompts.write_text("one\n two \nthree\n")
    later.write_text("1\n2\n3\n")
    files = PromptFiles.read(prompts, later)
    pairs = dict(zip(*files.draw(40, torch.Generator().manual_seed(1)), strict=True))
    assert pairs == {"one": "1", "two": "2", "three": "3"}
    alone = PromptFiles.read(prompts).draw(2, torch.Generator().manual_seed(1))
    assert alone[0] == alone[1]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [("", None, "found none"), ("one\n\nthree\n", None, ":2: expected a prompt"), ("one\ntwo\n", "1\n", "expected 2")],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, first: str, second: str | None, message: str) -> None:
    prompts, later = tmp_path / "prompts.txt", tmp_path / "later.txt"
    prompts.write_text(first)
    later.write_text(second or "")
    with pytest.raises(ValueError, match=message):
        PromptFiles.read(prompts, None if second is None else later)
