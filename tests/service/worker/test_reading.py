"""A prompt that was not read as it was written is told of, once for each thing."""

from service.errors import WarningCode
from service.ipc import Prompt
from service.worker.reading import reading_warnings
from tests.service.worker.fake_engine import TEXT_LENGTH, FakeEngine


def test_a_prompt_that_is_read_whole_is_not_spoken_of() -> None:
    assert list(reading_warnings(FakeEngine(), "s", prompts=[Prompt("a calm sea")], event_id="e")) == []


def test_a_cut_prompt_is_told_with_the_place() -> None:
    long = "sea " * TEXT_LENGTH
    (warning,) = reading_warnings(FakeEngine(), "s", prompts=[Prompt("a sea"), Prompt(long)], event_id="e")
    assert (warning.session, warning.code, warning.field) == ("s", WarningCode.PROMPT_TRUNCATED, "prompt")
    assert (warning.event_id, warning.kept_characters) == ("e", TEXT_LENGTH)
    assert f"character {TEXT_LENGTH} of {len(long)}" in warning.message


def test_unknown_words_are_named() -> None:
    (warning,) = reading_warnings(FakeEngine(), "s", prompts=[Prompt("a ZEBRA at SEA")], event_id="")
    assert (warning.code, warning.event_id) == (WarningCode.WORDS_UNKNOWN, None)
    assert "ZEBRA, SEA" in warning.message
