"""Text to messages and back: the one place where what came over the wire becomes a typed value.

It knows nothing of sockets or sessions. Invariant: whatever text comes in, `parse_client_message`
either returns a valid message or raises ProtocolError with the code of what is wrong; it never
recurses deeper than `Limits.json_depth` and takes time linear in the length of the text.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from service.errors import ErrorCode, ProtocolError
from service.protocol.client import (
    ClientMessage,
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
    is_blank,
)
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    InteractionApplied,
    InteractionQueued,
    InteractionRejected,
    InteractionSuperseded,
    MediaInit,
    ServerMessage,
    SessionCheckpointed,
    SessionControlApplied,
    SessionDirection,
    SessionDone,
    SessionDraining,
    SessionForked,
    SessionPong,
    SessionQueued,
    SessionResumed,
    SessionStats,
    SessionWarning,
    UnknownMessage,
    VideoDiscard,
    VideoStart,
    WorkerRestarting,
)
from service.protocol.strict_json import MAX_DEPTH, load_strict, printable


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds a server may set lower or higher; all others are part of the protocol."""

    json_depth: int = 8
    prompt_chars: int = 2000


_CLIENT_TYPES: dict[str, type[ClientMessage]] = {
    "session.start": SessionStart,
    "session.resume": SessionResume,
    "session.join": SessionJoin,
    "session.interaction": SessionInteraction,
    "session.control": SessionControl,
    "session.fork": SessionFork,
    "session.checkpoint": SessionCheckpoint,
    "session.direct": SessionDirect,
    "session.playback": SessionPlayback,
    "session.ping": SessionPing,
    "session.stop": SessionStop,
}
_SERVER_TYPES: dict[str, type[ServerMessage]] = {
    "session.queued": SessionQueued,
    "video.start": VideoStart,
    "media.init": MediaInit,
    "video.chunk_metadata": ChunkMetadata,
    "video.discard": VideoDiscard,
    "session.interaction.queued": InteractionQueued,
    "session.interaction.applied": InteractionApplied,
    "session.interaction.superseded": InteractionSuperseded,
    "session.interaction.rejected": InteractionRejected,
    "session.control.applied": SessionControlApplied,
    "session.forked": SessionForked,
    "session.checkpointed": SessionCheckpointed,
    "session.direction": SessionDirection,
    "session.resumed": SessionResumed,
    "session.worker_restarting": WorkerRestarting,
    "session.stats": SessionStats,
    "session.warning": SessionWarning,
    "session.draining": SessionDraining,
    "session.pong": SessionPong,
    "session.done": SessionDone,
    "error": ErrorMessage,
}


def encode_message(message: BaseModel) -> str:
    """One message as JSON text; fields that are None are left out."""
    return message.model_dump_json(exclude_none=True)


def parse_client_message(text: str, limits: Limits | None = None) -> ClientMessage:
    """What a client said.

    Raises:
        ProtocolError: with the code, field and expectation of the first thing that is wrong.
    """
    limits = limits or Limits()
    fields = _object(load_strict(text, max_depth=limits.json_depth))
    event_id = _event_id(fields)
    try:
        model = _CLIENT_TYPES.get(_type_of(fields))
        if model is None:
            _refuse_type(fields)
        message = model.model_validate(fields)
        _check_prompts(message, limits)
    except ValidationError as error:
        raise translated(error, event_id) from None
    except ProtocolError as error:
        error.event_id = event_id
        raise
    return message


def parse_server_message(text: str) -> ServerMessage | UnknownMessage:
    """What a server said; a type this version does not know is returned as UnknownMessage.

    Raises:
        ProtocolError: the text is not a message at all, or not a valid one of its type.
    """
    fields = _object(load_strict(text, max_depth=MAX_DEPTH))
    name = _type_of(fields)
    model = _SERVER_TYPES.get(name)
    if model is None:
        return UnknownMessage(type=name)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise translated(error, "") from None


def _object(value: JsonValue) -> dict[str, JsonValue]:
    if isinstance(value, dict):
        return value
    raise ProtocolError(
        ErrorCode.MESSAGE_NOT_OBJECT,
        f"The message is {_json_kind(value)}, not an object.",
        expected="a JSON object with a `type`",
    )


def _type_of(fields: dict[str, JsonValue]) -> str:
    if "type" not in fields:
        raise ProtocolError(
            ErrorCode.TYPE_MISSING, "The message has no `type`.", field="type", expected="a message type"
        )
    name = fields["type"]
    if not isinstance(name, str):
        raise ProtocolError(
            ErrorCode.FIELD_TYPE,
            f"`type` is {_json_kind(name)}, not a string.",
            field="type",
            expected="a string",
        )
    return name


def _refuse_type(fields: dict[str, JsonValue]) -> NoReturn:
    raise ProtocolError(
        ErrorCode.TYPE_UNKNOWN,
        f"There is no message type {_shortened(fields['type'])}.",
        field="type",
        expected=", ".join(_CLIENT_TYPES),
    )


def _event_id(fields: dict[str, JsonValue]) -> str:
    """The event id of a message that may be wrong elsewhere, so that its error can name it."""
    value = fields.get("event_id")
    return value if isinstance(value, str) and 1 <= len(value) <= 128 else ""


def _check_prompts(message: ClientMessage, limits: Limits) -> None:
    if not isinstance(message, SessionStart | SessionInteraction):
        return
    for index, prompt in enumerate(message.weighted_prompts):
        field = message.prompt_field(index)
        if len(prompt.text) > limits.prompt_chars:
            raise ProtocolError(
                ErrorCode.PROMPT_TOO_LONG,
                f"The prompt has {len(prompt.text)} characters.",
                field=field,
                expected=f"at most {limits.prompt_chars} characters",
            )
        if is_blank(prompt.text):
            raise ProtocolError(
                ErrorCode.PROMPT_EMPTY,
                "The prompt is empty.",
                field=field,
                expected="at least one visible character",
            )


# Which of several faults is reported: the one that explains the others comes first.
_RANKS = {
    ErrorCode.FIELD_UNKNOWN: 0,
    ErrorCode.FIELD_MISSING: 1,
    ErrorCode.FIELD_TYPE: 2,
    ErrorCode.FIELD_CHOICE: 3,
    ErrorCode.FIELD_RANGE: 4,
}
_OWN_RANK = 3.5  # a list whose item was refused is also reported as one that is too short
_OWN_CODES = frozenset(code.value for code in ErrorCode)
# What would have been right, by the validator's kind of fault; `{...}` are its bounds. A kind that is
# not here is a value of another JSON type.
_EXPECTED: dict[str, tuple[ErrorCode, str]] = {
    "extra_forbidden": (ErrorCode.FIELD_UNKNOWN, "no such field"),
    "missing": (ErrorCode.FIELD_MISSING, "this field"),
    "literal_error": (ErrorCode.FIELD_CHOICE, "{expected}"),
    "enum": (ErrorCode.FIELD_CHOICE, "{expected}"),
    "greater_than": (ErrorCode.FIELD_RANGE, "more than {gt}"),
    "greater_than_equal": (ErrorCode.FIELD_RANGE, "at least {ge}"),
    "less_than": (ErrorCode.FIELD_RANGE, "less than {lt}"),
    "less_than_equal": (ErrorCode.FIELD_RANGE, "at most {le}"),
    "string_too_short": (ErrorCode.FIELD_RANGE, "{min_length} or more characters"),
    "string_too_long": (ErrorCode.FIELD_RANGE, "at most {max_length} characters"),
    "too_short": (ErrorCode.FIELD_RANGE, "{min_length} or more items"),
    "too_long": (ErrorCode.FIELD_RANGE, "at most {max_length} items"),
    "finite_number": (ErrorCode.FIELD_RANGE, "a finite number"),
    "string_type": (ErrorCode.FIELD_TYPE, "a string"),
    "int_type": (ErrorCode.FIELD_TYPE, "an integer"),
    "float_type": (ErrorCode.FIELD_TYPE, "a number"),
    "bool_type": (ErrorCode.FIELD_TYPE, "true or false"),
    "tuple_type": (ErrorCode.FIELD_TYPE, "an array"),
    "model_type": (ErrorCode.FIELD_TYPE, "an object"),
    "dict_type": (ErrorCode.FIELD_TYPE, "an object"),
}


def translated(error: ValidationError, event_id: str = "") -> ProtocolError:
    """The first fault of a failed validation, in this service's words."""
    return first_fault(error.errors(include_url=False), event_id)


def first_fault(details: Iterable[ErrorDetails], event_id: str = "") -> ProtocolError:
    """The first of the faults that a validation found; at least one."""
    faults = [_fault(detail, event_id) for detail in details]
    return min(faults, key=lambda fault: _RANKS.get(fault.code, _OWN_RANK))


def _fault(detail: ErrorDetails, event_id: str) -> ProtocolError:
    context = detail.get("ctx", {})
    if detail["type"] in _OWN_CODES:
        return ProtocolError(
            ErrorCode(detail["type"]),
            str(context["message"]),
            field=".".join(str(part) for part in (*detail["loc"], context["field"]) if part != ""),
            expected=str(context["expected"]),
            event_id=event_id,
        )
    code, phrase = _EXPECTED.get(detail["type"], (ErrorCode.FIELD_TYPE, ""))
    expected = phrase.format_map({name: _bound(value) for name, value in context.items()}) or detail["msg"]
    field = ".".join(str(part) for part in detail["loc"])
    if code is ErrorCode.FIELD_UNKNOWN:
        message = f"The message has no field `{printable(field)}`."
    elif code is ErrorCode.FIELD_MISSING:
        message = f"The field `{field}` is missing."
    else:
        message = f"`{field}` is {_shortened(detail['input'])}; expected {expected}."
    return ProtocolError(code, message, field=printable(field), expected=expected, event_id=event_id)


def _bound(value: object) -> object:
    """A bound as a person writes it: 0, not 0.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shortened(value: object) -> str:
    """A value as it may be shown back: JSON, at most 40 characters."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _json_kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "a number"
