"""Kinds of values that settings have.

It knows nothing of any setting. Invariant: what a flag, the environment or a file can say of a value is accepted in the
same words.
"""

from typing import Annotated

from pydantic import BeforeValidator


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Several words; in the environment separated by commas."""

Numbers = Annotated[tuple[int, ...], BeforeValidator(_split)]
"""Several whole numbers, in the same way."""
