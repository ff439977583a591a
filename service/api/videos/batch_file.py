"""The file of a batch: a request a line, each with a name of its own.

It knows lines and requests; nothing of hooks or of the queue. Invariants: names are given once; the first line that is
wrong is named by its number and refuses the whole; a line in the shape that other services have for batches
(`custom_id`, `url`, `body`) is read as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from service.api.videos.asking import VideoRequest, parse_request
from service.api.videos.bodies import object_in
from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError

MOST_NAME_CHARS = 128
_URL = "/v1/videos"


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One request; `number` counts lines from 1."""

    number: int
    custom_id: str
    request: VideoRequest


def lines_of(data: bytes, config: ServiceConfig) -> Iterator[BatchLine]:
    """One by one, empty lines left out. Raises ProtocolError."""
    names: set[str] = set()
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        if len(names) >= config.max_batch_items:
            raise _invalid("The batch has too many requests.", number, f"at most {config.max_batch_items}")
        with_place = _Place(number)
        name, fields = with_place.read(line, config)
        if name in names:
            raise _invalid(f"The name {name[:64]!r} is given twice.", number, "a custom_id that is new")
        names.add(name)
        yield BatchLine(number, name, with_place.request(fields, config))
    if not names:
        raise ProtocolError(ErrorCode.BATCH_INVALID, "The batch has no requests.", expected="a request a line")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the file something is: it goes into what is said of a fault."""

    number: int

    def read(self, line: bytes, config: ServiceConfig) -> tuple[str, dict[str, JsonValue]]:
        try:
            fields = object_in(line, json_depth=config.max_json_depth)
        except ProtocolError as error:
            raise at_line(error, self.number) from None
        name = fields.pop("custom_id", None)
        if name is None:
            name = str(self.number)
        if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME_CHARS:
            raise _invalid("The custom_id is no name.", self.number, f"a text of 1 to {MOST_NAME_CHARS} characters")
        if "body" not in fields:
            return name, fields
        method, url, body = fields.pop("method", "POST"), fields.pop("url", _URL), fields.pop("body")
        if fields or method != "POST" or url != _URL or not isinstance(body, dict):
            raise _invalid("The line is for another address.", self.number, f"POST {_URL} and a body")
        return name, body

    def request(self, fields: dict[str, JsonValue], config: ServiceConfig) -> VideoRequest:
        try:
            return parse_request(fields, config)
        except ProtocolError as error:
            raise at_line(error, self.number) from None


def at_line(error: ProtocolError, number: int) -> ProtocolError:
    """The same fault, with the line it is in."""
    where = f"{number}.{error.field}" if error.field else str(number)
    return ProtocolError(error.code, f"Line {number}: {error.message}", field=where, expected=error.expected)


def _invalid(message: str, number: int, expected: str) -> ProtocolError:
    return at_line(ProtocolError(ErrorCode.BATCH_INVALID, message, expected=expected), number)
