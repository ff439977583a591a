"""Prompts cleaned and cut into pieces, against the library that the checkpoints were published with."""

import json
from pathlib import Path

import pytest
from transformers import T5Tokenizer

from models.errors import WeightsError
from models.tokenizer import PromptTokenizer, clean_prompt
from tests.models.pieces import write_tokenizer

PROMPT = "a red ball in the sea, a blue ball in the snow."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("  a red \n\n ball\t", "a red ball"),
        ("salt &amp; pepper", "salt & pepper"),
        ("salt &amp;amp; pepper", "salt & pepper"),
        ("a cafÃ© at night", "a café at night"),
        ("“quoted”", '"quoted"'),
        ("a\u00a0ball", "a ball"),
        ("", ""),
        ("&nbsp;", ""),
    ],
)
def test_cleaning(written: str, cleaned: str) -> None:
    assert clean_prompt(written) == cleaned


@pytest.mark.parametrize("limit", [1, 2, 7, 12, 13, 14, 64])
def test_pieces_are_those_of_the_library(path: Path, limit: int) -> None:
    library = T5Tokenizer(tokenizer_file=str(path))
    expected = library(PROMPT, truncation=True, max_length=limit, add_special_tokens=True)["input_ids"]
    assert list(PromptTokenizer.from_file(path).tokenize(PROMPT, limit=limit).ids) == expected


def test_nothing_is_cut_where_all_fits(path: Path) -> None:
    tokenizer = PromptTokenizer.from_file(path)
    for prompt in (PROMPT, f"  {PROMPT}\n", "", "   ", "&amp;&amp;"):
        tokens = tokenizer.tokenize(prompt, limit=64)
        assert tokens.kept_characters == len(prompt)
        assert tokens.ids[-1] == tokenizer.end


@pytest.mark.parametrize(
    ("prompt", "kept"),
    [
        ("a red ball in the sea", "a red"),
        ("  a   red   ball in the sea", "  a   red"),
        ("a &amp;&amp; ball in the sea", "a &amp;"),
        ("a", "a"),
    ],
)
def test_a_cut_is_told_in_the_prompt_as_it_was_written(path: Path, prompt: str, kept: str) -> None:
    limit = 4 if "amp" in prompt else 3
    assert prompt[: PromptTokenizer.from_file(path).tokenize(prompt, limit=limit).kept_characters].rstrip() == kept


def test_the_longer_the_limit_the_more_is_kept(path: Path) -> None:
    tokenizer = PromptTokenizer.from_file(path)
    prompt = "the  sea &amp;amp; snow,\n in the cafÃ© a red ball."
    kept = [tokenizer.tokenize(prompt, limit=limit).kept_characters for limit in range(1, 64)]
    assert kept == sorted(kept)
    assert kept[-1] == len(prompt)
    assert kept[0] == 0
    assert len(set(kept)) > 8


def test_pieces_that_are_not_known_are_told_once(path: Path) -> None:
    tokens = PromptTokenizer.from_file(path).tokenize("a Ω ball Ω", limit=64)
    assert tokens.unknown_words == ("Ω",)
    assert PromptTokenizer.from_file(path).tokenize(PROMPT, limit=64).unknown_words == ()


def test_settings_in_the_file_are_not_obeyed(path: Path) -> None:
    document = json.loads(path.read_text("utf-8"))
    document["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    document["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    path.write_text(json.dumps(document), "utf-8")
    assert len(PromptTokenizer.from_file(path).tokenize(PROMPT, limit=64).ids) > 9


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff\xfe", b"[1]", b'{"model": {"type": "Unigram"}}'])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"tokenizer\.json: expected a tokenizer\.json"):
        PromptTokenizer.from_file(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.json: expected"):
        PromptTokenizer.from_file(tmp_path / "none.json")


def test_a_tokenizer_without_an_end_mark_is_refused(path: Path) -> None:
    path.write_text(path.read_text("utf-8").replace("</s>", "<end>"), "utf-8")
    with pytest.raises(WeightsError, match="expected a piece '</s>'"):
        PromptTokenizer.from_file(path)
