"""Adapters on the wire: as a session asks for them, as the worker is told, and what is no adapter."""

import json

import pytest

from service import ipc
from service.api import translate
from service.errors import ErrorCode, ProtocolError, facts_of
from service.protocol.client import MAX_ADAPTERS, SessionInteraction, SessionStart
from service.protocol.parse import parse_client_message


def start(adapters: object) -> SessionStart:
    message = parse_client_message(json.dumps({"type": "session.start", "prompt": "a", "adapters": adapters}))
    assert isinstance(message, SessionStart)
    return message


def test_a_set_goes_through_as_it_is() -> None:
    command = translate.start_command(
        start([{"name": "ink"}, {"name": "wash", "scale": -0.5}]), "s", credits=1, max_seconds=1.0
    )
    assert command.adapters == (ipc.Adapter("ink", 1.0), ipc.Adapter("wash", -0.5))
    assert ipc.decode_command(ipc.encode(command)) == command


@pytest.mark.parametrize(("asked", "told"), [(None, None), ([], ())])
def test_none_is_the_usual_set_and_an_empty_one_is_empty(asked: object, told: object) -> None:
    assert translate.start_command(start(asked), "s", credits=1, max_seconds=1.0).adapters == told


def test_a_prompt_may_change_them() -> None:
    said = {"type": "session.interaction", "event_id": "e", "prompt": "a", "adapters": [{"name": "ink", "scale": 2}]}
    message = parse_client_message(json.dumps(said))
    assert isinstance(message, SessionInteraction)
    assert translate.interact_command(message, "s").adapters == (ipc.Adapter("ink", 2.0),)


@pytest.mark.parametrize(
    ("adapters", "field"),
    [
        ("ink", "adapters"),
        ([{"name": ""}], "adapters.0.name"),
        ([{"name": "ink", "scale": 101}], "adapters.0.scale"),
        ([{"name": "ink", "weight": 1}], "adapters.0.weight"),
        ([{"name": "ink"}] * (MAX_ADAPTERS + 1), "adapters"),
    ],
)
def test_what_is_no_adapter_is_named(adapters: object, field: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        start(adapters)
    assert refused.value.field == field


def test_the_codes_say_whether_to_ask_again() -> None:
    assert not facts_of(ErrorCode.ADAPTERS_UNKNOWN).retryable
    assert facts_of(ErrorCode.ADAPTERS_UNAVAILABLE).retryable
    assert not facts_of(ErrorCode.ADAPTERS_UNAVAILABLE).fatal
