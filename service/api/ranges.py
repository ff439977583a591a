"""Which bytes of a file a request is for: `Range`, as RFC 9110 has it, and the conditions that go with it.

It knows headers and sizes; nothing of files. Invariants: every range that comes out lies inside of the file; there are
few of them, and they do not overlap, so that no request makes more than the file itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

MOST_RANGES = 16
_SPEC = re.compile(r"(\d{0,19})-(\d{0,19})")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


class Wanted(Enum):
    """What a request is for, where it is not for some ranges."""

    WHOLE = auto()
    NOTHING_NEW = auto()
    """The client has it already."""
    CHANGED = auto()
    """The client wanted it only if it were as it was."""
    OUTSIDE = auto()
    """The file has none of these bytes."""


def wanted(headers: Mapping[str, str], *, size: int, etag: str) -> Wanted | tuple[Span, ...]:
    """`headers`: names in lower case; `etag` without its quotes, a strong one."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is not None and not _names(match, etag, weak=False):
        return Wanted.CHANGED
    if none_match is not None and _names(none_match, etag, weak=True):
        return Wanted.NOTHING_NEW
    asked, condition = headers.get("range"), headers.get("if-range")
    if asked is None or (condition is not None and condition.strip() != f'"{etag}"'):
        return Wanted.WHOLE
    return _spans(asked, size)


def _names(value: str, etag: str, *, weak: bool) -> bool:
    tags = [tag.strip() for tag in value.split(",")]
    if weak:
        tags = [tag.removeprefix("W/") for tag in tags]
    return "*" in tags or f'"{etag}"' in tags


def _spans(asked: str, size: int) -> Wanted | tuple[Span, ...]:
    """What cannot be read is passed over, as the standard allows; what asks for too much is not answered."""
    unit, equals, specs = asked.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return Wanted.WHOLE
    parts = [spec.strip() for spec in specs.split(",")]
    if len(parts) > MOST_RANGES:
        return Wanted.OUTSIDE
    matches = [_SPEC.fullmatch(part) for part in parts if part]
    if not matches:
        return Wanted.WHOLE
    spans = []
    for match in matches:
        if match is None or match[0] == "-" or (match[1] and match[2] and int(match[2]) < int(match[1])):
            return Wanted.WHOLE
        span = _span(match[1], match[2], size)
        if span is not None:
            spans.append(span)
    return _apart(spans) if spans else Wanted.OUTSIDE


def _span(first: str, last: str, size: int) -> Span | None:
    """None where the file does not have the bytes."""
    if not first:
        length = min(int(last), size)
        return Span(size - length, size - 1) if length else None
    if int(first) >= size:
        return None
    return Span(int(first), min(int(last), size - 1) if last else size - 1)


def _apart(spans: list[Span]) -> tuple[Span, ...]:
    """In order; those that overlap or touch become one."""
    if len(spans) == 1:
        return (spans[0],)
    merged: list[Span] = []
    for span in sorted(spans, key=lambda item: item.first):
        if merged and span.first <= merged[-1].last + 1:
            merged[-1] = Span(merged[-1].first, max(merged[-1].last, span.last))
        else:
            merged.append(span)
    return tuple(merged)
