"""The error registry: every code has its facts, every fatal one its close code, and the tree is as drawn."""

import inspect
from pathlib import Path

import pytest

import models.errors
from service.errors import (
    REGISTRY,
    CloseCode,
    ErrorCode,
    ErrorFacts,
    ProtocolError,
    ServiceError,
    WarningCode,
    exceptions,
    facts_of,
)

README = Path(__file__).parents[2] / "service" / "README.md"


def test_every_code_has_facts() -> None:
    assert set(REGISTRY) == set(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_facts_are_complete(code: ErrorCode) -> None:
    facts = REGISTRY[code]
    assert facts.description.endswith(".")
    assert 400 <= facts.http_status < 600
    assert facts.fatal == (facts.close is not None)
    if facts.close in (CloseCode.TRY_LATER, CloseCode.RESTART):
        assert facts.retryable


def test_descriptions_differ() -> None:
    assert len({facts.description for facts in REGISTRY.values()}) == len(REGISTRY)


def test_what_the_engine_refuses_has_an_entry() -> None:
    base = models.errors.EngineError
    # The engine's own: a subclass elsewhere never reaches a client.
    own = [kind for kind in base.__subclasses__() if kind.__module__ == base.__module__]
    kinds: list[type[models.errors.EngineError]] = [base, *own]
    assert len(kinds) > 5
    assert [kind.code for kind in kinds if kind.code not in REGISTRY] == []
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_a_code_of_a_newer_engine_counts_as_a_refusal() -> None:
    facts = facts_of("colour_invalid")
    assert isinstance(facts, ErrorFacts)
    assert not facts.fatal
    assert not facts.retryable


def test_a_protocol_error_says_what_where_and_what_was_expected() -> None:
    error = ProtocolError(ErrorCode.FIELD_TYPE, "no", field="seed", expected="an integer", event_id="e")
    assert isinstance(error, ValueError)
    assert (error.code, error.field, error.expected, error.event_id, str(error)) == (
        "field_type",
        "seed",
        "an integer",
        "e",
        "no",
    )


def test_every_error_is_drawn_in_the_tree() -> None:
    drawn = inspect.getdoc(exceptions) or ""
    names = [
        name for name, value in vars(exceptions).items() if inspect.isclass(value) and issubclass(value, ServiceError)
    ]
    assert len(names) > 5
    assert [name for name in names if f" {name} " not in drawn and f"- {name}" not in drawn] == []


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_is_documented(code: ErrorCode) -> None:
    facts = REGISTRY[code]
    section = README.read_text("utf-8").partition("\n## Error codes\n")[2]
    row = next((line for line in section.splitlines() if line.startswith(f"| `{code}` |")), "")
    close = str(facts.close.value) if facts.close else ""
    retryable = "yes" if facts.retryable else ""
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [f"`{code}`", str(facts.http_status), close, retryable, facts.description]


@pytest.mark.parametrize("code", WarningCode)
def test_every_warning_is_documented(code: WarningCode) -> None:
    assert f"`{code}`" in README.read_text("utf-8")
