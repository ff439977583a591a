"""The table of bad messages: each kind of fault with the code, the field and the expectation it is answered with.

It knows nothing of how messages travel: the parser's tests and the wire's tests go through the same table.
"""

import json
from dataclasses import dataclass

from service.errors import ErrorCode

TYPES = (
    "session.start, session.resume, session.join, session.interaction, session.control, session.fork,"
    " session.checkpoint, session.direct, session.playback, session.ping, session.stop"
)
FORMATS = "'jpeg', 'webp', 'png', 'raw' or 'm4s'"
UNICODE = "Unicode text without NUL"
ALONE = 'no such field unless `action` is "quality"'
PLACED = 'no such field unless `action` is "rewind"'
ACTIONS = "'pause', 'resume', 'quality', 'rewind' or 'seek_live'"


@dataclass(frozen=True, slots=True)
class BadMessage:
    name: str
    text: str
    code: ErrorCode
    field: str
    expected: str


def _start(**fields: object) -> str:
    return json.dumps({"type": "session.start", "prompt": "a lighthouse"} | fields)


def _interaction(**fields: object) -> str:
    return json.dumps({"type": "session.interaction", "event_id": "e", "prompt": "a storm"} | fields)


def _control(**fields: object) -> str:
    return json.dumps({"type": "session.control"} | fields)


def _message(name: str, **fields: object) -> str:
    return json.dumps({"type": f"session.{name}"} | fields)


def _playback(**fields: object) -> str:
    return json.dumps({"type": "session.playback"} | fields)


def _blend(*prompts: object) -> str:
    return json.dumps({"type": "session.start", "prompts": prompts})


BAD_MESSAGES = (
    BadMessage("empty", "", ErrorCode.JSON_INVALID, "", "one JSON object"),
    BadMessage("not json", "hello", ErrorCode.JSON_INVALID, "", "one JSON object"),
    BadMessage("cut off", '{"type": "session.st', ErrorCode.JSON_INVALID, "", "one JSON object"),
    BadMessage("two objects", "{}{}", ErrorCode.JSON_INVALID, "", "one JSON object"),
    BadMessage("byte order mark", "\ufeff{}", ErrorCode.JSON_INVALID, "", "one JSON object"),
    BadMessage("raw newline in a text", '{"type": "a\nb"}', ErrorCode.JSON_INVALID, "", "one JSON object"),
    BadMessage("deep arrays", "[" * 60_000, ErrorCode.JSON_TOO_DEEP, "", "at most 8 levels"),
    BadMessage("deep objects", '{"a":' * 10_000 + "1" + "}" * 10_000, ErrorCode.JSON_TOO_DEEP, "", "at most 8 levels"),
    BadMessage("NaN", '{"type": NaN}', ErrorCode.JSON_NUMBER_INVALID, "", "a finite number"),
    BadMessage("infinity", '{"a": -Infinity}', ErrorCode.JSON_NUMBER_INVALID, "", "a finite number"),
    BadMessage("overflow", '{"a": 1e999}', ErrorCode.JSON_NUMBER_INVALID, "", "a finite number"),
    BadMessage("big integer", '{"a": ' + "9" * 5000 + "}", ErrorCode.JSON_NUMBER_INVALID, "", "at most 19 digits"),
    BadMessage(
        "key twice", '{"type": "session.stop", "type": "x"}', ErrorCode.JSON_DUPLICATE_KEY, "type", "each key once"
    ),
    BadMessage("NUL", _start(prompt="a\0b"), ErrorCode.TEXT_INVALID, "prompt", UNICODE),
    BadMessage("half a surrogate pair", _start(prompt="\ud800"), ErrorCode.TEXT_INVALID, "prompt", UNICODE),
    BadMessage("NUL in a blend", _blend({"text": "a\0b"}), ErrorCode.TEXT_INVALID, "prompts.0.text", UNICODE),
    BadMessage("NUL in a key", '{"\\u0000": 1}', ErrorCode.TEXT_INVALID, "\\x00", UNICODE),
    BadMessage("array", "[]", ErrorCode.MESSAGE_NOT_OBJECT, "", "a JSON object with a `type`"),
    BadMessage("null", "null", ErrorCode.MESSAGE_NOT_OBJECT, "", "a JSON object with a `type`"),
    BadMessage("no type", "{}", ErrorCode.TYPE_MISSING, "type", "a message type"),
    BadMessage("type a number", '{"type": 1}', ErrorCode.FIELD_TYPE, "type", "a string"),
    BadMessage("type unknown", '{"type": "session.begin"}', ErrorCode.TYPE_UNKNOWN, "type", TYPES),
    BadMessage("a server's type", '{"type": "video.start"}', ErrorCode.TYPE_UNKNOWN, "type", TYPES),
    BadMessage("field unknown", _start(steps=4), ErrorCode.FIELD_UNKNOWN, "steps", "no such field"),
    BadMessage(
        "field unknown inside", _blend({"text": "a", "w": 1}), ErrorCode.FIELD_UNKNOWN, "prompts.0.w", "no such field"
    ),
    BadMessage(
        "event id missing",
        '{"type": "session.interaction", "prompt": "a"}',
        ErrorCode.FIELD_MISSING,
        "event_id",
        "this field",
    ),
    BadMessage("text missing", _blend({"weight": 1}), ErrorCode.FIELD_MISSING, "prompts.0.text", "this field"),
    BadMessage("prompt a number", _start(prompt=3), ErrorCode.FIELD_TYPE, "prompt", "a string"),
    BadMessage(
        "prompts a string", '{"type": "session.start", "prompts": "a"}', ErrorCode.FIELD_TYPE, "prompts", "an array"
    ),
    BadMessage("prompt of a blend a string", _blend("a"), ErrorCode.FIELD_TYPE, "prompts.0", "an object"),
    BadMessage("seed true", _start(seed=True), ErrorCode.FIELD_TYPE, "seed", "an integer"),
    BadMessage("seed a fraction", _start(seed=1.5), ErrorCode.FIELD_TYPE, "seed", "an integer"),
    BadMessage("seed a string", _start(seed="1"), ErrorCode.FIELD_TYPE, "seed", "an integer"),
    BadMessage("seconds a string", _start(max_seconds="1"), ErrorCode.FIELD_TYPE, "max_seconds", "a number"),
    BadMessage("seconds true", _start(max_seconds=True), ErrorCode.FIELD_TYPE, "max_seconds", "a number"),
    BadMessage(
        "weight a string", _blend({"text": "a", "weight": "1"}), ErrorCode.FIELD_TYPE, "prompts.0.weight", "a number"
    ),
    BadMessage(
        "transition true", _interaction(transition_chunks=True), ErrorCode.FIELD_TYPE, "transition_chunks", "an integer"
    ),
    BadMessage("seed negative", _start(seed=-1), ErrorCode.FIELD_RANGE, "seed", "at least 0"),
    BadMessage("seed 2**63", _start(seed=2**63), ErrorCode.FIELD_RANGE, "seed", f"at most {2**63 - 1}"),
    BadMessage("width 0", _start(width=0), ErrorCode.FIELD_RANGE, "width", "at least 1"),
    BadMessage("height too big", _start(height=65537), ErrorCode.FIELD_RANGE, "height", "at most 65536"),
    BadMessage("quality 0", _start(quality=0), ErrorCode.FIELD_RANGE, "quality", "at least 1"),
    BadMessage("quality 101", _start(quality=101), ErrorCode.FIELD_RANGE, "quality", "at most 100"),
    BadMessage("no seconds", _start(max_seconds=0), ErrorCode.FIELD_RANGE, "max_seconds", "more than 0"),
    BadMessage(
        "transition too long",
        _interaction(transition_chunks=65),
        ErrorCode.FIELD_RANGE,
        "transition_chunks",
        "at most 64",
    ),
    BadMessage("event id empty", _interaction(event_id=""), ErrorCode.FIELD_RANGE, "event_id", "1 or more characters"),
    BadMessage(
        "event id long", _interaction(event_id="e" * 129), ErrorCode.FIELD_RANGE, "event_id", "at most 128 characters"
    ),
    BadMessage("at before the start", _interaction(at=-1), ErrorCode.FIELD_RANGE, "at", "at least 0"),
    BadMessage("no prompts", _blend(), ErrorCode.FIELD_RANGE, "prompts", "1 or more items"),
    BadMessage("many prompts", _blend(*[{"text": "a"}] * 9), ErrorCode.FIELD_RANGE, "prompts", "at most 8 items"),
    BadMessage("format", _start(format="gif"), ErrorCode.FIELD_CHOICE, "format", FORMATS),
    BadMessage("pacing", _start(pacing="fast"), ErrorCode.FIELD_CHOICE, "pacing", "'realtime' or 'none'"),
    BadMessage("mode", _interaction(mode="x"), ErrorCode.FIELD_CHOICE, "mode", "'recache', 'flush', 'cut' or 'keep'"),
    BadMessage("sink", _interaction(sink="x"), ErrorCode.FIELD_CHOICE, "sink", "'keep' or 'refresh'"),
    BadMessage(
        "slow consumer",
        _start(slow_consumer="x"),
        ErrorCode.FIELD_CHOICE,
        "slow_consumer",
        "'pause', 'drop' or 'disconnect'",
    ),
    BadMessage("no action", _control(), ErrorCode.FIELD_MISSING, "action", "this field"),
    BadMessage("action", _control(action="halt"), ErrorCode.FIELD_CHOICE, "action", ACTIONS),
    BadMessage("quality of a pause", _control(action="pause", quality=3), ErrorCode.FIELD_UNKNOWN, "quality", ALONE),
    BadMessage("no quality", _control(action="quality"), ErrorCode.FIELD_MISSING, "quality", "this field"),
    BadMessage(
        "quality 0 later", _control(action="quality", quality=0), ErrorCode.FIELD_RANGE, "quality", "at least 1"
    ),
    BadMessage(
        "rewind to nowhere", _control(action="rewind"), ErrorCode.FIELD_MISSING, "sequence", "`sequence` or `seconds`"
    ),
    BadMessage(
        "rewind to two places",
        _control(action="rewind", sequence=1, seconds=1),
        ErrorCode.FIELD_UNKNOWN,
        "seconds",
        "either `sequence` or `seconds`",
    ),
    BadMessage(
        "rewind before the start",
        _control(action="rewind", sequence=-1),
        ErrorCode.FIELD_RANGE,
        "sequence",
        "at least 0",
    ),
    BadMessage("place of a pause", _control(action="pause", seconds=3), ErrorCode.FIELD_UNKNOWN, "seconds", PLACED),
    BadMessage(
        "noise of a pause", _control(action="pause", same_noise=True), ErrorCode.FIELD_UNKNOWN, "same_noise", PLACED
    ),
    BadMessage(
        "fork from two places",
        _message("fork", sequence=1, seconds=1),
        ErrorCode.FIELD_UNKNOWN,
        "seconds",
        "either `sequence` or `seconds`",
    ),
    BadMessage("no name", _message("checkpoint"), ErrorCode.FIELD_MISSING, "name", "this field"),
    BadMessage("nothing to join", _message("join"), ErrorCode.FIELD_MISSING, "session_id", "this field"),
    BadMessage("no token", _message("resume", session_id="s"), ErrorCode.FIELD_MISSING, "resume_token", "this field"),
    BadMessage(
        "token empty",
        _message("resume", session_id="s", resume_token=""),
        ErrorCode.FIELD_RANGE,
        "resume_token",
        "1 or more characters",
    ),
    BadMessage(
        "direct how",
        _message("direct", action="grab"),
        ErrorCode.FIELD_CHOICE,
        "action",
        "'offer', 'take' or 'release'",
    ),
    BadMessage("buffer", _start(buffer_seconds=61), ErrorCode.FIELD_RANGE, "buffer_seconds", "at most 60"),
    BadMessage("no position", _playback(), ErrorCode.FIELD_MISSING, "position_seconds", "this field"),
    BadMessage(
        "position negative", _playback(position_seconds=-1), ErrorCode.FIELD_RANGE, "position_seconds", "at least 0"
    ),
    BadMessage(
        "dropped a fraction", _playback(position_seconds=1, dropped=0.5), ErrorCode.FIELD_TYPE, "dropped", "an integer"
    ),
    BadMessage("no prompt", '{"type": "session.start"}', ErrorCode.PROMPT_MISSING, "prompt", "`prompt` or `prompts`"),
    BadMessage("prompt null", _start(prompt=None), ErrorCode.PROMPT_MISSING, "prompt", "`prompt` or `prompts`"),
    BadMessage(
        "two ways",
        _start(prompts=[{"text": "a"}]),
        ErrorCode.PROMPT_CONFLICT,
        "prompts",
        "either `prompt` or `prompts`",
    ),
    BadMessage("prompt empty", _start(prompt=""), ErrorCode.PROMPT_EMPTY, "prompt", "at least one visible character"),
    BadMessage(
        "prompt blank", _start(prompt=" \t\u200b"), ErrorCode.PROMPT_EMPTY, "prompt", "at least one visible character"
    ),
    BadMessage(
        "blend blank",
        _blend({"text": "a"}, {"text": " "}),
        ErrorCode.PROMPT_EMPTY,
        "prompts.1.text",
        "at least one visible character",
    ),
    BadMessage(
        "prompt long", _start(prompt="a" * 2001), ErrorCode.PROMPT_TOO_LONG, "prompt", "at most 2000 characters"
    ),
    BadMessage(
        "weight negative",
        _blend({"text": "a", "weight": -1}),
        ErrorCode.WEIGHTS_INVALID,
        "prompts.0.weight",
        "a number from 0 to 1e+06",
    ),
    BadMessage(
        "weights zero",
        _blend({"text": "a", "weight": 0}),
        ErrorCode.WEIGHTS_INVALID,
        "prompts",
        "at least one weight above 0",
    ),
)
