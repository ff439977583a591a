"""Both hooks over a prompt: order, notes, refusals, hooks that fail; the list of words; and what settings name."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.config import ServiceConfig
from service.errors import ConfigError, ErrorCode, ProtocolError
from service.hooks import Asked, PromptContext, PromptHooks, Verdict, hooks_of
from service.hooks.prompting import PromptRefused
from service.hooks.words import plain_words, word_policy

CONTEXT = PromptContext(kind="session", tenant="local", previous=("a red ball rests over the sea",))
ASKED = Asked(("it bounces",), ("prompt",), "e1")


@dataclass(slots=True)
class Says:
    """An enhancer that says one thing, or fails."""

    answer: str | Exception
    name: str = "says"

    async def enhance(self, text: str, context: PromptContext) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass(slots=True)
class Forbids:
    word: str
    name: str = "forbids"

    async def judge(self, text: str, context: PromptContext) -> Verdict:
        return Verdict(self.word not in text, "Not that.", "rule 1")


class Sleeps:
    name = "sleeps"

    async def judge(self, text: str, context: PromptContext) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError


async def test_without_hooks_a_prompt_comes_out_as_it_came() -> None:
    judged = await PromptHooks().apply(ASKED, CONTEXT)
    assert (judged.texts, judged.notes) == (ASKED.texts, ())


async def test_what_hooks_say_is_noted() -> None:
    hooks = PromptHooks(enhancer=Says("a red ball bounces"), policy=Forbids("gun"))
    judged = await hooks.apply(ASKED, CONTEXT)
    assert judged.texts == ("a red ball bounces",)
    enhanced, allowed = map(json.loads, judged.notes)
    assert enhanced == {
        "type": "prompt_enhanced",
        "event_id": "e1",
        "by": "says",
        "prompt": "it bounces",
        "enhanced": "a red ball bounces",
    }
    assert allowed == {
        "type": "prompt_allowed",
        "event_id": "e1",
        "by": "forbids",
        "prompts": ["a red ball bounces"],
    }


@pytest.mark.parametrize("word", ["bounces", "gun"])
async def test_the_policy_sees_what_was_said_and_what_was_made_of_it(word: str) -> None:
    counted: list[str] = []
    hooks = PromptHooks(enhancer=Says("a gun"), policy=Forbids(word), counted=counted.append)
    with pytest.raises(PromptRefused) as caught:
        await hooks.apply(ASKED, CONTEXT)
    error = caught.value
    assert (error.code, error.field, error.event_id, error.message) == (
        ErrorCode.POLICY_REFUSED,
        "prompt",
        "e1",
        "Not that.",
    )
    note = json.loads(error.note)
    assert (note["type"], note["rule"], counted) == ("prompt_refused", "rule 1", ["refused"])


@pytest.mark.parametrize("fault", [OSError("down"), ValueError("bad"), RuntimeError("broken")])
async def test_a_hook_that_fails_lets_nothing_through(fault: Exception) -> None:
    with pytest.raises(ProtocolError) as caught:
        await PromptHooks(enhancer=Says(fault)).apply(ASKED, CONTEXT)
    assert (caught.value.code, caught.value.field) == (ErrorCode.HOOK_FAILED, "prompt")
    assert "down" not in caught.value.message


async def test_a_hook_that_takes_too_long_lets_nothing_through() -> None:
    with pytest.raises(ProtocolError) as caught:
        await PromptHooks(policy=Sleeps(), timeout=0.01).apply(ASKED, CONTEXT)
    assert caught.value.code is ErrorCode.HOOK_FAILED


@pytest.mark.parametrize("answer", ["", "  ", "x" * 2001])
async def test_an_enhancer_that_makes_no_prompt_is_not_heard(answer: str) -> None:
    judged = await PromptHooks(enhancer=Says(answer)).apply(ASKED, CONTEXT)
    assert (judged.texts, judged.notes) == (ASKED.texts, ())


LINES = ["# a comment", "", "gun", "Naked  people", "straße", "ナイフ"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a GUN on a table", "line 3"),
        ("a g\u200bun", "line 3"),
        ("ｇｕｎ", "line 3"),
        ("a gún", "line 3"),
        ("a table, gun!", "line 3"),
        ("naked\n people", "line 4"),
        ("naked, people", "line 4"),
        ("n4ked pe0ple", "line 4"),
        ("on the STRASSE", "line 5"),
        ("ﾅｲﾌ", "line 6"),
        ("a begun game", ""),
        ("gunpowder", ""),
        ("naked mole rats and people", ""),
        ("", ""),
    ],
)
async def test_words_are_found_whole_in_any_dress(text: str, rule: str) -> None:
    verdict = await word_policy(LINES).judge(text, CONTEXT)
    assert (verdict.allowed, verdict.rule) == (not rule, rule)
    assert "gun" not in verdict.reason


def test_a_list_without_words_is_an_error() -> None:
    for lines in ([], ["# only", "!!"]):
        with pytest.raises(ConfigError, match="policy_words_file"):
            word_policy(lines)
    assert plain_words("Ünï-CODE_x") == ("uni", "code", "x")


def always(config: ServiceConfig) -> Forbids:
    """A policy of somebody's own, as the settings name it."""
    return Forbids("x")


def nothing(config: ServiceConfig) -> object:
    return object()


async def test_settings_name_hooks(tmp_path: Path) -> None:
    assert hooks_of(ServiceConfig()).off
    words = tmp_path / "words"
    words.write_text("gun\n")
    both = hooks_of(ServiceConfig(prompt_enhancer="fill", content_policy="words", policy_words_file=words))
    assert (both.enhancer and both.enhancer.name, both.policy and both.policy.name) == ("fill", "words")
    own = hooks_of(ServiceConfig(content_policy=f"{__name__}:always"))
    assert isinstance(own.policy, Forbids)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"content_policy": "words"}, "policy_words_file"),
        ({"content_policy": "words", "policy_words_file": "/nonexistent/list"}, "cannot be read"),
        ({"content_policy": "nobody:nothing"}, "content_policy"),
        ({"content_policy": "wrods"}, "content_policy"),
        ({"prompt_enhancer": f"{__name__}:missing"}, "prompt_enhancer"),
        ({"prompt_enhancer": f"{__name__}:always"}, "`enhance`"),
        ({"content_policy": f"{__name__}:nothing"}, "`judge`"),
    ],
)
def test_a_hook_that_cannot_be_had_is_an_error(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        hooks_of(ServiceConfig.model_validate(settings))
