"""Text to messages and back: the table of bad messages, garbage of every kind, and round trips."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import REGISTRY, ErrorCode, ProtocolError
from service.protocol import (
    ClientMessage,
    Limits,
    ServerMessage,
    UnknownMessage,
    encode_message,
    parse_client_message,
    parse_server_message,
)
from service.protocol.client import (
    SessionCheckpoint,
    SessionControl,
    SessionDirect,
    SessionFork,
    SessionInteraction,
    SessionJoin,
    SessionPing,
    SessionPlayback,
    SessionResume,
    SessionStart,
    SessionStop,
    WeightedPrompt,
)
from tests.service.bad_messages import BAD_MESSAGES, BadMessage

TYPES = ["session.start", "session.interaction", "session.ping", "session.stop", "video.start", "", "x"]
NAMES = sorted({name for model in (SessionStart, SessionInteraction, SessionPing) for name in model.model_fields})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["jpeg", "keep"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*NAMES, "text", "weight"]), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: bad.name)
def test_a_bad_message_is_refused_with_its_code_field_and_expectation(bad: BadMessage) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_client_message(bad.text)
    error = caught.value
    assert (error.code, error.field, error.expected) == (bad.code, bad.field, bad.expected)
    assert error.message
    assert len(error.message) < 400


def test_the_table_has_every_code_that_a_message_alone_can_cause() -> None:
    caused = {bad.code for bad in BAD_MESSAGES}
    parsed = [code for code in ErrorCode if code.value.split("_")[0] in {"json", "text", "message", "type", "field"}]
    parsed += [code for code in ErrorCode if code.value.startswith(("prompt_", "weights_"))]
    parsed.remove(ErrorCode.PROMPT_INVALID)  # the engine's
    assert caused == set(parsed)
    assert caused <= set(REGISTRY)


def test_an_interaction_that_is_refused_is_named_by_its_event_id() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_client_message('{"type": "session.interaction", "event_id": "e7", "prompt": ""}')
    assert caught.value.event_id == "e7"


@given(st.text() | st.binary().map(lambda value: value.decode("latin-1")))
def test_garbage_raises_nothing_but_protocol_error(text: str) -> None:
    for parse in (parse_client_message, parse_server_message):
        with pytest.raises(ProtocolError):
            parse(text)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.sampled_from(TYPES) | VALUES)
def test_nearly_right_messages_raise_nothing_but_protocol_error(fields: dict[str, object], name: object) -> None:
    text = json.dumps(fields | {"type": name})
    assert _outcome(parse_client_message, text) in (*REGISTRY, name)
    assert _outcome(parse_server_message, text) in (*REGISTRY, name)


def _outcome(parse: Callable[[str], ClientMessage | ServerMessage | UnknownMessage], text: str) -> str:
    """The type of the message, or the code of what is wrong with it."""
    try:
        return parse(text).type
    except ProtocolError as error:
        return error.code


@given(
    st.builds(
        SessionInteraction,
        event_id=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=128),
        prompt=st.just("a storm"),
        prompts=st.none(),
        mode=st.sampled_from(["recache", "flush", "cut", "keep"]),
        sink=st.sampled_from(["keep", "refresh"]),
        transition_chunks=st.integers(0, 64),
        at=st.none() | st.floats(0, 1e9),
    )
)
def test_client_messages_come_back_as_they_were(message: SessionInteraction) -> None:
    assert parse_client_message(encode_message(message)) == message


CLIENT_MESSAGES: tuple[ClientMessage, ...] = (
    SessionStart(prompt="a"),
    SessionStart(prompts=(WeightedPrompt(text="a", weight=0.25), WeightedPrompt(text="b")), seed=0, format="raw"),
    SessionStart(prompt="a", buffer_seconds=4.0, shared_direction=True, unattended=True),
    SessionResume(session_id="s", resume_token="t"),
    SessionResume(session_id="s", resume_token="t", last_sequence=7, slow_consumer="drop"),
    SessionJoin(session_id="s", format="jpeg", slow_consumer="pause"),
    SessionInteraction(event_id="e", prompt="a"),
    SessionControl(action="pause"),
    SessionControl(action="quality", quality=3),
    SessionControl(action="rewind", sequence=0, same_noise=True),
    SessionControl(action="rewind", seconds=1.5),
    SessionControl(action="seek_live", event_id="e"),
    SessionFork(),
    SessionFork(sequence=3, same_noise=True, event_id="e"),
    SessionCheckpoint(name="the storm", event_id="e"),
    SessionDirect(action="offer"),
    SessionPlayback(position_seconds=1.0),
    SessionPing(id="7"),
    SessionPing(),
    SessionStop(),
)


@pytest.mark.parametrize("message", CLIENT_MESSAGES, ids=lambda message: message.type)
def test_every_client_message_round_trips(message: ClientMessage) -> None:
    assert parse_client_message(encode_message(message)) == message


def test_every_client_message_is_tried() -> None:
    assert {type(message) for message in CLIENT_MESSAGES} == set(ClientMessage.__args__)


def test_limits_are_the_servers() -> None:
    text = encode_message(SessionStart(prompt="abc"))
    assert parse_client_message(text, Limits(prompt_chars=3)).type == "session.start"
    with pytest.raises(ProtocolError, match="3 characters"):
        parse_client_message(text, Limits(prompt_chars=2))
    with pytest.raises(ProtocolError, match="deeper than 1"):
        parse_client_message('{"type": []}', Limits(json_depth=1))


def test_a_number_without_a_fraction_may_stand_for_a_float() -> None:
    message = parse_client_message('{"type": "session.interaction", "event_id": "e", "prompt": "a", "at": 4}')
    assert isinstance(message, SessionInteraction)
    assert message.at == 4.0


def test_clients_pass_over_what_they_do_not_know() -> None:
    assert parse_server_message('{"type": "session.mood", "mood": 1}') == UnknownMessage(type="session.mood")
    pong = parse_server_message('{"type": "session.pong", "id": "1", "added_later": 2}')
    assert encode_message(pong) == '{"type":"session.pong","id":"1"}'


def test_a_server_message_that_lacks_a_field_is_an_error_that_names_it() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_server_message('{"type": "session.interaction.queued"}')
    assert (caught.value.code, caught.value.field) == (ErrorCode.FIELD_MISSING, "event_id")
