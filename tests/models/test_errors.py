"""The error tree: every error is an EngineError and a ValueError, with a stable code of its own and the field."""

import pytest

from models import errors
from models.errors import (
    AdapterError,
    ChangeError,
    ConfigError,
    EngineError,
    FaultyBlockError,
    NotFiniteError,
    OpeningError,
    PositionLimitError,
    PresetError,
    PromptError,
    RestoreError,
    SeedError,
    WeightsError,
)

CODES: dict[type[EngineError], str] = {
    EngineError: "engine_error",
    ConfigError: "config_invalid",
    PresetError: "model_unknown",
    WeightsError: "model_files_invalid",
    PromptError: "prompt_invalid",
    ChangeError: "mode_invalid",
    SeedError: "seed_invalid",
    OpeningError: "picture_invalid",
    AdapterError: "adapters_unknown",
    RestoreError: "restore_mismatch",
    PositionLimitError: "position_limit",
    NotFiniteError: "guard_not_finite",
    FaultyBlockError: "guard_frozen",
}


def test_codes_are_pinned() -> None:
    """Clients compare them."""
    assert {kind: kind.code for kind in CODES} == CODES


def test_codes_are_different() -> None:
    assert len(set(CODES.values())) == len(CODES)


def test_the_tree_is_the_one_drawn() -> None:
    found = {value for value in vars(errors).values() if isinstance(value, type)}
    assert found == set(CODES)
    assert errors.__doc__ is not None
    drawn = [line.split()[1] for line in errors.__doc__.splitlines() if "──" in line]
    assert drawn == [kind.__name__ for kind in CODES if kind is not EngineError]


@pytest.mark.parametrize("kind", CODES)
def test_an_error_has_message_field_and_code(kind: type[EngineError]) -> None:
    error = kind("width must be 8, not 9", field="width")
    assert isinstance(error, EngineError)
    assert isinstance(error, ValueError)
    assert (str(error), error.field, error.code) == ("width must be 8, not 9", "width", CODES[kind])
    assert kind("something").field is None


def test_one_code_is_finer_than_its_class() -> None:
    error = PromptError("empty", field="prompt", code="prompt_empty")
    assert error.code == "prompt_empty"
    assert PromptError.code == "prompt_invalid", "the class keeps its own"
