from pathlib import Path

import pytest

from models.errors import EngineError, RestoreError
from models.journal import Journal, PromptEvent, WeightedPrompt
from service.commands.options import GenerateOptions, OptionError
from service.commands.script import Cue, length_of, read_journal, script_of


def event(prompt: str, event_id: str, **changes: object) -> PromptEvent:
    fields: dict[str, object] = {"block": 0, "prompts": (WeightedPrompt(prompt),), "event_id": event_id}
    return PromptEvent(**(fields | changes))  # type: ignore[arg-type]


def test_script_of_prompts() -> None:
    options = GenerateOptions(
        prompt="sun", at=["8s fog", "4s rain"], seed=7, mode="flush", sink="refresh", transition=3
    )
    script = script_of(options)
    change = {"mode": "flush", "sink": "refresh", "transition_chunks": 3}
    assert script.first.prompts == (WeightedPrompt("sun"),)
    assert script.seed == 7
    assert script.cues == (
        Cue(4.0, event("rain", "prompt-1", **change)),
        Cue(8.0, event("fog", "prompt-2", **change)),
    )


def test_seed_is_drawn_where_none_is_given() -> None:
    seeds = {script_of(GenerateOptions(prompt="sun")).seed for _ in range(8)}
    assert len(seeds) > 1
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        (GenerateOptions(), "prompt_missing", "prompt"),
        (GenerateOptions(prompt="  "), "prompt_empty", "prompt"),
        (GenerateOptions(prompt="x" * 2001), "prompt_too_long", "prompt"),
        (GenerateOptions(prompt="sun", at=["4s " + "x" * 2001]), "prompt_too_long", "prompt"),
        (GenerateOptions(prompt="sun", mode="melt"), "mode_invalid", "mode"),
        (GenerateOptions(prompt="sun", sink="melt"), "sink_invalid", "sink"),
        (GenerateOptions(prompt="sun", transition=65), "transition_invalid", "transition_chunks"),
    ],
)
def test_wrong_scripts_are_named(options: GenerateOptions, code: str, field: str) -> None:
    with pytest.raises((OptionError, EngineError)) as caught:
        script_of(options)
    error = caught.value
    assert isinstance(error, OptionError | EngineError)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize(("seconds", "length"), [(None, 10.0), (0.5, 0.5)])
def test_length(seconds: float | None, length: float) -> None:
    assert length_of(GenerateOptions(seconds=seconds)) == length


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_wrong_length_is_named(seconds: float) -> None:
    with pytest.raises(OptionError, match="above 0") as caught:
        length_of(GenerateOptions(seconds=seconds))
    assert (caught.value.code, caught.value.field) == ("field_range", "seconds")


def test_journal_is_read(tmp_path: Path) -> None:
    journal = Journal(model="demo", seed=1, fingerprint="f", events=(event("sun", "prompt-0"),))
    path = tmp_path / "journal.json"
    path.write_text(journal.to_json() + "\n")
    assert read_journal(path) == journal


@pytest.mark.parametrize("text", ["", "[]", "{}", "{'a'", '{"version": 99}'])
def test_what_is_no_journal_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    path.write_text(text)
    with pytest.raises(RestoreError):
        read_journal(path)
