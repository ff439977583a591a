"""Form fields as the JSON object that they stand for: `prompts[][at]`, `metadata[key]`, or JSON text in one field.

It knows names and texts; nothing of HTTP or of what the fields mean. Invariant: what comes out is what the same request
as JSON would have given, or an error with the code `form_invalid`.
"""

import re
from collections.abc import Iterable

from pydantic import JsonValue

from service.errors import ErrorCode, ProtocolError
from service.protocol.strict_json import load_strict, printable

MOST_FIELDS = 16384
_NAME = re.compile(r"([A-Za-z_]\w{0,63})((?:\[[^\[\]]{0,64}\]){0,5})")
_PART = re.compile(r"\[([^\[\]]*)\]")
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_NUMBER = re.compile(r"[+-]?(\d{1,19}(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_INTEGERS = frozenset({"seed", "steps", "priority", "transition"})
_NUMBERS = frozenset({"at", "weight", "scale"})
_STRUCTURED = frozenset({"prompts", "metadata", "adapters", "input_reference"})


def object_of(fields: Iterable[tuple[str, str]], *, json_depth: int) -> dict[str, JsonValue]:
    """Raises ProtocolError."""
    found: dict[str, JsonValue] = {}
    for name, text in fields:
        path = _path_of(name)
        if len(path) == 1 and path[0] in found:
            raise _invalid(f"The form has the field `{printable(name)}` twice.", name)
        _put(found, path, _value_of(path, text, json_depth=json_depth))
    return {name: _settled(value) for name, value in found.items()}


def _path_of(name: str) -> list[str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise _invalid(f"The form has a field of the name `{printable(name)}`.", name)
    return [match[1], *_PART.findall(match[2])]


def _value_of(path: list[str], text: str, *, json_depth: int) -> JsonValue:
    leaf = path[-1]
    if len(path) == 1 and leaf in _STRUCTURED and text.lstrip()[:1] in ("{", "["):
        return load_strict(text, max_depth=json_depth)
    in_metadata = len(path) > 1 and path[0] == "metadata"
    if leaf in _INTEGERS and not in_metadata and _INTEGER.fullmatch(text):
        return int(text)
    if leaf in _NUMBERS and not in_metadata and _NUMBER.fullmatch(text):
        return float(text)
    return text


def _put(place: dict[str, JsonValue], path: list[str], value: JsonValue) -> None:
    """Lists grow as forms say it: `[]` is the last item until that has the field already, then a new one.

    While the form is read a list is an object with numbers for names.
    """
    name, *rest = path
    if name == "":
        name = str(max(0, len(place) - 1))
        if name in place and _has(place[name], rest):
            name = str(len(place))
    if not rest:
        if name in place:
            raise _invalid("The form has a field twice.", name)
        place[name] = value
        return
    inner = place.setdefault(name, {})
    if not isinstance(inner, dict):
        raise _invalid(f"The form has the field `{printable(name)}` as a text and as an object.", name)
    _put(inner, rest, value)


def _has(value: JsonValue, path: list[str]) -> bool:
    """Whether there is no room at the path. A list has room always."""
    for name in path:
        if name == "" or not isinstance(value, dict):
            return not isinstance(value, dict)
        if name not in value:
            return False
        value = value[name]
    return True


def _settled(value: JsonValue) -> JsonValue:
    """Objects whose names are all numbers become lists."""
    if not isinstance(value, dict):
        return value
    settled = {name: _settled(inner) for name, inner in value.items()}
    if settled and all(name.isdecimal() for name in settled):
        return [settled[name] for name in sorted(settled, key=int)]
    return settled


def _invalid(message: str, name: str) -> ProtocolError:
    return ProtocolError(ErrorCode.FORM_INVALID, message, field=printable(name))
