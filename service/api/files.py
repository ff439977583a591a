"""A file as an answer: whole, in ranges, or only its head.

It knows an open file and its name; nothing of what is in it. Invariants: the file is open before the answer begins, so
that deleting it meanwhile cuts nobody off; it is closed however the answer ends; at most one piece of it is in memory.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.api.problem import problem_response
from service.api.ranges import Span, Wanted, wanted
from service.errors import ErrorCode

PIECE = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFile:
    """An open file to answer with. `etag`: a digest of its bytes; `name`: what a browser saves it as."""

    file: BinaryIO
    size: int
    etag: str
    media_type: str
    name: str


def file_response(request: Request, served: ServedFile) -> Response:
    """The answer to a GET or HEAD; the file is closed by it."""
    headers = {
        "ETag": f'"{served.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{served.name}"',
        "Cache-Control": "private, no-cache",
    }
    found = wanted(request.headers, size=served.size, etag=served.etag)
    match found:
        case Wanted.NOTHING_NEW:
            served.file.close()
            return Response(status_code=304, headers=headers)
        case Wanted.CHANGED:
            served.file.close()
            return Response(status_code=412, headers=headers)
        case Wanted.OUTSIDE:
            served.file.close()
            answer = problem_response(ErrorCode.RANGE_INVALID, f"The file has {served.size} bytes.")
            answer.headers["Content-Range"] = f"bytes */{served.size}"
            return answer
        case Wanted.WHOLE:
            spans: tuple[Span, ...] = (Span(0, served.size - 1),)
            body = _Body([(b"", span) for span in spans], b"", served.media_type)
            return _Sent(request, served, body=body, status=200, headers=headers)
        case spans if len(spans) == 1:
            headers["Content-Range"] = _content_range(spans[0], served.size)
            body = _Body([(b"", spans[0])], b"", served.media_type)
            return _Sent(request, served, body=body, status=206, headers=headers)
        case spans:
            body = _parts(spans, served)
            return _Sent(request, served, body=body, status=206, headers=headers)


@dataclass(frozen=True, slots=True)
class _Body:
    """Spans, each with the bytes that come before it, and the bytes at the end."""

    parts: list[tuple[bytes, Span]]
    end: bytes
    media_type: str

    @property
    def length(self) -> int:
        return sum(len(head) + span.length for head, span in self.parts) + len(self.end)


def _parts(spans: tuple[Span, ...], served: ServedFile) -> _Body:
    boundary = secrets.token_hex(16)
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {served.media_type}\r\n"
        f"Content-Range: {_content_range(span, served.size)}\r\n\r\n".encode("ascii")
        for span in spans
    ]
    end = f"\r\n--{boundary}--\r\n".encode("ascii")
    kind = f"multipart/byteranges; boundary={boundary}"
    return _Body(list(zip(heads, spans, strict=True)), end, kind)


def _content_range(span: Span, size: int) -> str:
    return f"bytes {span.first}-{span.last}/{size}"


class _Sent(StreamingResponse):
    """Closes the file, also where the answer is never begun or the client goes away."""

    def __init__(
        self, request: Request, served: ServedFile, *, body: _Body, status: int, headers: Mapping[str, str]
    ) -> None:
        self._file = served.file
        pieces = _nothing() if request.method == "HEAD" else _pieces(served.file, body)
        super().__init__(pieces, status_code=status, media_type=body.media_type)
        self.headers.update(headers)
        self.headers["Content-Length"] = str(body.length)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def _nothing() -> AsyncIterator[bytes]:
    none: tuple[bytes, ...] = ()
    for piece in none:
        yield piece


async def _pieces(file: BinaryIO, body: _Body) -> AsyncIterator[bytes]:
    for head, span in body.parts:
        if head:
            yield head
        for offset, length in _steps(span):
            piece = await asyncio.to_thread(os.pread, file.fileno(), length, offset)
            if len(piece) < length:
                raise OSError(f"a file of {span.last + 1} bytes or more has become shorter")
            yield piece
    if body.end:
        yield body.end


def _steps(span: Span) -> Iterator[tuple[int, int]]:
    for offset in range(span.first, span.last + 1, PIECE):
        yield offset, min(PIECE, span.last + 1 - offset)
