"""JSON from strangers: depth before parsing, linear time, and a code for everything json.loads forgives."""

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ErrorCode, ProtocolError
from service.protocol.strict_json import load_strict

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\0")), inner)
    ),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_a_good_value_comes_through_unchanged(value: object) -> None:
    assert load_strict(json.dumps(value), max_depth=64) == value


@given(JSON_VALUES)
def test_depth_is_that_of_the_value(value: object) -> None:
    depth = _depth(value)
    text = json.dumps(value)
    load_strict(text, max_depth=depth)
    if depth > 0:
        with pytest.raises(ProtocolError) as caught:
            load_strict(text, max_depth=depth - 1)
        assert caught.value.code is ErrorCode.JSON_TOO_DEEP


def _depth(value: object) -> int:
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 0


@given(st.text())
def test_any_text_is_a_value_or_a_protocol_error(text: str) -> None:
    with suppress(ProtocolError):
        load_strict(text, max_depth=8)


@pytest.mark.parametrize(
    "text",
    ["[" * 65536, '"' + '\\"' * 32767, '"' * 65536, "\\" * 65536, '{"a":' * 13107, "9" * 65536, "[" + "1," * 32767],
    ids=["brackets", "escaped quotes", "quotes", "backslashes", "objects", "digits", "numbers"],
)
def test_time_does_not_explode_with_length(text: str) -> None:
    """Cost per character at the message limit, against a text a sixteenth as long: linear stays near 1."""

    def cost(part: str) -> float:
        best = float("inf")
        for _ in range(5):
            begin = time.perf_counter()
            with pytest.raises(ProtocolError):
                load_strict(part, max_depth=8)
            best = min(best, time.perf_counter() - begin)
        return best / len(part)

    assert cost(text) < 8 * cost(text[:4096])


def test_brackets_inside_texts_do_not_count() -> None:
    assert load_strict('{"a": "[[[[\\"{{{{"}', max_depth=1) == {"a": '[[[["{{{{'}


def test_an_integer_of_nineteen_digits_is_the_longest() -> None:
    assert load_strict("-" + "9" * 19, max_depth=1) == -(10**19) + 1
    with pytest.raises(ProtocolError, match="20 digits"):
        load_strict("1" + "0" * 19, max_depth=1)
