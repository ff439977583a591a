"""The bodies of requests: JSON or a form with a file, read no further than their bounds.

It knows HTTP's bodies; nothing of what is asked in them. Invariants: a body that is too large, too slow or cut short is
given up as soon as that shows; large ones have a bound together; a file's name is never looked at.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request
from pydantic import JsonValue
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from service.api.videos.forms import MOST_FIELDS, object_of
from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError, SessionError
from service.protocol.strict_json import load_strict

T = TypeVar("T")

FILE_FIELD = "input_reference"
JSON_TYPES = ("application/json",)
LINES_TYPES = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "text/plain")
SMALL_BYTES = 1 << 20
"""A body up to here needs no place of its own."""
_MOST_FIELD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Body:
    """What came: the fields, and the file that came with them."""

    fields: dict[str, JsonValue]
    file: bytes | None = None

    def fingerprint(self, place: str) -> str:
        """A digest of all of it, for a request to `place`."""
        digest = hashlib.sha256(place.encode())
        digest.update(json.dumps(self.fields, sort_keys=True, ensure_ascii=True).encode())
        digest.update(hashlib.sha256(self.file or b"").digest())
        return digest.hexdigest()


class Uploads:
    """Reads bodies. One for all routes, so that their bound is one."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._arriving = 0

    @property
    def most_bytes(self) -> int:
        """Of a job's body: a file as base64, and what is said with it."""
        largest = max(self._config.max_clip_bytes, self._config.max_picture_bytes)
        return largest * 4 // 3 + 2 * SMALL_BYTES

    async def job(self, request: Request) -> Body:
        """Raises ProtocolError or SessionError."""
        kind = media_type(request)
        if kind in JSON_TYPES:
            data = await self.whole(request, self.most_bytes)
            return Body(object_in(data, json_depth=self._config.max_json_depth))
        if kind == "multipart/form-data":
            with self._place(request, self.most_bytes):
                return await self._timed(self._form(request))
        raise _unsupported(kind, (*JSON_TYPES, "multipart/form-data"))

    async def lines(self, request: Request) -> bytes:
        """The file of a batch: the body itself, or the only file of a form. Raises ProtocolError or SessionError."""
        kind, most = media_type(request), self._config.max_batch_bytes
        if kind in LINES_TYPES:
            return await self.whole(request, most)
        if kind == "multipart/form-data":
            with self._place(request, most):
                return await self._timed(self._only_file(request, most))
        raise _unsupported(kind, (*LINES_TYPES, "multipart/form-data"))

    async def whole(self, request: Request, most: int) -> bytes:
        """The body as it is."""
        with self._place(request, most):
            return await self._timed(_joined(_bounded(request, most)))

    async def _form(self, request: Request) -> Body:
        form = MultiPartParser(
            request.headers,
            _bounded(request, self.most_bytes),
            max_files=1,
            max_fields=MOST_FIELDS,
            max_part_size=_MOST_FIELD_BYTES,
        )
        async with _parsed(form) as items:
            texts = [(name, value) for name, value in items if isinstance(value, str)]
            files = [(name, value) for name, value in items if isinstance(value, UploadFile)]
            fields = object_of(texts, json_depth=self._config.max_json_depth)
            # NULs and halves of characters are found as in JSON.
            load_strict(json.dumps(fields), max_depth=self._config.max_json_depth)
            for name, file in files:
                if name != FILE_FIELD or name in fields:
                    message = f"The form has a file where none is taken; a file is `{FILE_FIELD}`, once."
                    raise ProtocolError(ErrorCode.FORM_INVALID, message, field=FILE_FIELD)
                return Body(fields, await file.read())
            return Body(fields)

    async def _only_file(self, request: Request, most: int) -> bytes:
        form = MultiPartParser(
            request.headers, _bounded(request, most), max_files=1, max_fields=8, max_part_size=_MOST_FIELD_BYTES
        )
        async with _parsed(form) as items:
            for _, value in items:
                if isinstance(value, UploadFile):
                    return await value.read()
        raise ProtocolError(ErrorCode.FORM_INVALID, "The form has no file.", field="file", expected="a JSONL file")

    async def _timed(self, reading: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._config.upload_timeout):
                return await reading
        except TimeoutError:
            message = f"The body did not arrive within {self._config.upload_timeout:g} s."
            raise SessionError(ErrorCode.REQUEST_TIMEOUT, message) from None
        except ClientDisconnect:
            raise SessionError(ErrorCode.FORM_INVALID, "The body did not arrive whole.") from None

    @contextmanager
    def _place(self, request: Request, most: int) -> Iterator[None]:
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise too_large(most)
        if length.isdecimal() and int(length) <= SMALL_BYTES:
            yield
            return
        if self._arriving >= self._config.max_uploads:
            raise SessionError(ErrorCode.CAPACITY, "Too many large bodies are on their way.")
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def object_in(data: bytes, *, json_depth: int) -> dict[str, JsonValue]:
    """The object that a body holds. Raises ProtocolError."""
    value = load_strict(text_of(data), max_depth=json_depth)
    if not isinstance(value, dict):
        raise ProtocolError(ErrorCode.MESSAGE_NOT_OBJECT, "The body is JSON but no object.", expected="an object")
    return value


def text_of(data: bytes) -> str:
    """Raises ProtocolError for what is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProtocolError(ErrorCode.TEXT_INVALID, "The body is not UTF-8.", expected="UTF-8") from None


def too_large(most: int) -> SessionError:
    return SessionError(ErrorCode.BODY_TOO_LARGE, f"The body may have {most} bytes.")


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    read = 0
    async for piece in request.stream():
        read += len(piece)
        if read > most:
            raise too_large(most)
        yield piece


async def _joined(pieces: AsyncIterator[bytes]) -> bytes:
    data = bytearray()
    async for piece in pieces:
        data += piece
    return bytes(data)


@asynccontextmanager
async def _parsed(parser: MultiPartParser) -> AsyncIterator[list[tuple[str, UploadFile | str]]]:
    """The items of a form, whose files are gone after the block."""
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError, KeyError, UnicodeDecodeError) as error:
        said = error.message if isinstance(error, MultiPartException) else "it is damaged"
        message = f"The form cannot be read: {said[:200]}"
        raise ProtocolError(ErrorCode.FORM_INVALID, message, expected="multipart/form-data as in RFC 7578") from None
    try:
        yield form.multi_items()
    finally:
        await form.close()


def _unsupported(kind: str, taken: tuple[str, ...]) -> ProtocolError:
    message = f"The body is of the type {kind[:64]!r}." if kind else "The body has no type."
    return ProtocolError(ErrorCode.MEDIA_TYPE_UNSUPPORTED, message, field="Content-Type", expected=" or ".join(taken))
