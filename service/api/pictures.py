"""Pictures that wait for the session that starts from them: a file comes by HTTP, its id goes into `session.start`.

It knows bytes and ids; nothing of what a picture is (service/uploads judges that) and of sessions. Invariants: a
picture is read no further than its limit and held no longer than its time; what is kept was found whole; kept pictures
and those on their way have a bound together; a page of another site gets nothing here.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from service.access.principal import Principal, Scope
from service.api.gate import needs
from service.api.problem import PROBLEM_MEDIA_TYPE, problem_schema
from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError
from service.uploads.checking import Check, FileCheck
from service.uploads.kinds import Kind

PICTURES_PATH = "/v1/pictures"


@dataclass(frozen=True, slots=True)
class _Kept:
    data: bytes
    tenant: str
    until: float


class Pictures:
    """In memory only: a picture that is lost is sent again."""

    def __init__(
        self, config: ServiceConfig, *, check: Check | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`check`: what judges the files [default: a process for each]."""
        self._config = config
        self._check = check or FileCheck()
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._arriving = 0

    def __len__(self) -> int:
        self._forget()
        return len(self._kept) + self._arriving

    async def receive(self, pieces: AsyncIterator[bytes], tenant: str) -> str:
        """Keeps a picture for a tenant, and names it.

        Raises:
            SessionError: as soon as it is too large, late or one too many. ProtocolError: it is no whole picture.
        """
        config = self._config
        with self._place():
            try:
                async with asyncio.timeout(config.picture_seconds):
                    data = await self._read(pieces)
            except TimeoutError:
                message = f"The picture did not arrive within {config.picture_seconds:g} s."
                raise SessionError(ErrorCode.PICTURE_INVALID, message) from None
            if not data:
                raise SessionError(ErrorCode.PICTURE_INVALID, "The body is empty: it has to be the picture's file.")
            if (await self._check(data, "")).kind is not Kind.PICTURE:
                raise SessionError(ErrorCode.PICTURE_INVALID, "The file is a clip; a session starts from a picture.")
            picture_id = secrets.token_urlsafe(18)
            self._kept[picture_id] = _Kept(data, tenant, self._clock() + config.picture_seconds)
        return picture_id

    def get(self, picture_id: str, tenant: str) -> bytes:
        """It stays until its time is over: a start that is refused may be tried again. Raises SessionError."""
        self._forget()
        kept = self._kept.get(picture_id)
        if kept is None or kept.tenant != tenant:
            raise SessionError(ErrorCode.PICTURE_UNKNOWN, "There is no picture of this id, or no longer.")
        return kept.data

    async def _read(self, pieces: AsyncIterator[bytes]) -> bytes:
        data = bytearray()
        async for piece in pieces:
            data += piece
            if len(data) > self._config.max_picture_bytes:
                raise too_large(self._config)
        return bytes(data)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if len(self) >= self._config.max_pictures:
            raise SessionError(ErrorCode.CAPACITY, "Too many pictures wait for their sessions.")
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    def _forget(self) -> None:
        now = self._clock()
        for picture_id in [name for name, kept in self._kept.items() if kept.until <= now]:
            del self._kept[picture_id]


def too_large(config: ServiceConfig) -> SessionError:
    return SessionError(ErrorCode.PICTURE_TOO_LARGE, f"A picture may have {config.max_picture_bytes} bytes.")


class PictureTicket(BaseModel):
    """What to say in `session.start`, and for how long."""

    picture_id: str
    expires_seconds: float


def picture_routes(pictures: Pictures, config: ServiceConfig) -> APIRouter:
    router = APIRouter(tags=["pictures"])

    @router.post(PICTURES_PATH, status_code=201, responses=_PROBLEMS, openapi_extra=_BODY)
    async def keep_picture(
        request: Request, principal: Annotated[Principal, Depends(needs(Scope.SESSIONS))]
    ) -> PictureTicket:
        """Keeps a PNG, JPEG or WebP file (the body, as it is) for a session to start from."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > config.max_picture_bytes:
            raise too_large(config)
        try:
            picture_id = await pictures.receive(request.stream(), principal.tenant)
        except ClientDisconnect:
            raise SessionError(ErrorCode.PICTURE_INVALID, "The picture did not arrive whole.") from None
        return PictureTicket(picture_id=picture_id, expires_seconds=config.picture_seconds)

    return router


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_MEDIA_TYPE: {"schema": problem_schema()}}}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    403: _problem("A page of another site asks"),
    413: _problem("The picture has too many bytes"),
    422: _problem("The picture did not arrive whole and in time"),
    503: _problem("Too many pictures wait for their sessions"),
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/png", "image/jpeg", "image/webp")
        },
    }
}
