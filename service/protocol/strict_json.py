"""JSON from strangers: what `json.loads` forgives is refused here, with a code for each kind.

It knows nothing of message types. Invariant: nesting is counted by one linear scan before the
parser runs, so no input can drive the parser deeper than the limit.
"""

import json
import math
import re
from typing import NoReturn

from pydantic import JsonValue

from service.errors import ErrorCode, ProtocolError

MAX_DEPTH = 64
MAX_INTEGER_DIGITS = 19  # 2**63 - 1 has 19; longer ones fit no field and cost quadratic time to read

# A whole string, or what looks like one up to the end of the text, is one step: brackets inside do not
# count, and the possessive quantifier keeps the scan linear.
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def load_strict(text: str, *, max_depth: int) -> JsonValue:
    """The value that the text holds.

    Raises:
        ProtocolError: not JSON, too deep, a number that is not finite or too long, a key twice, or
            a text with a NUL or half a surrogate pair.
    """
    _check_depth(text, max_depth)
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_int=_bounded_integer,
            parse_float=_finite_float,
        )
    except json.JSONDecodeError as error:
        raise ProtocolError(
            ErrorCode.JSON_INVALID,
            f"The message is not JSON: {error.msg} at character {error.pos}.",
            expected="one JSON object",
        ) from None
    _check_texts(value, "")
    return value


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for match in _STRUCTURE.finditer(text):
        bracket = match.group()
        if bracket in ("[", "{"):
            depth += 1
        elif bracket in ("]", "}"):
            depth -= 1
        if depth > max_depth:
            raise ProtocolError(
                ErrorCode.JSON_TOO_DEEP,
                f"The message is nested deeper than {max_depth} levels at character {match.start()}.",
                expected=f"at most {max_depth} levels",
            )


def _unique_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value: dict[str, JsonValue] = {}
    for key, item in pairs:
        if key in value:
            raise ProtocolError(
                ErrorCode.JSON_DUPLICATE_KEY,
                "An object has the same key twice.",
                field=printable(key),
                expected="each key once",
            )
        value[key] = item
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ProtocolError(ErrorCode.JSON_NUMBER_INVALID, f"{name} is not a number in JSON.", expected="a finite number")


def _bounded_integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise ProtocolError(
            ErrorCode.JSON_NUMBER_INVALID,
            f"An integer has {len(digits)} digits.",
            expected=f"at most {MAX_INTEGER_DIGITS} digits",
        )
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ProtocolError(ErrorCode.JSON_NUMBER_INVALID, "A number is too big.", expected="a finite number")
    return value


def _check_texts(value: JsonValue, field: str) -> None:
    """Refuses NULs and lone surrogates, which neither UTF-8 nor a log can hold."""
    if isinstance(value, str):
        if not _is_storable(value):
            raise ProtocolError(
                ErrorCode.TEXT_INVALID,
                "A text holds a NUL or half a surrogate pair.",
                field=field,
                expected="Unicode text without NUL",
            )
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_texts(item, f"{field}.{index}" if field else str(index))
    elif isinstance(value, dict):
        for key, item in value.items():
            name = printable(key)
            path = f"{field}.{name}" if field else name
            _check_texts(key, path)
            _check_texts(item, path)


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def printable(key: str) -> str:
    """A key as an error may show it: printable ASCII, at most 64 characters."""
    return key.encode("unicode_escape").decode()[:64]
