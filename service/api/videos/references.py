"""Where a job's picture or clip comes from: the form's file, a `data:` URL or an `https` one; and whether it is whole.

It knows the way out and the judge of files; nothing of jobs. Invariant: what comes out was decoded once, somewhere
else, and is within its bounds; a path of this machine is never read.
"""

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from service.api.videos.asking import Reference
from service.api.videos.bodies import FILE_FIELD
from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError
from service.outbound.fetching import Outbound
from service.uploads.checking import Check
from service.uploads.kinds import Kind, kind_of

URL_FIELD = f"{FILE_FIELD}.image_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """`outbound` fetches, `check` judges."""

    config: ServiceConfig
    outbound: Outbound
    check: Check

    @property
    def most_bytes(self) -> int:
        """Of any file."""
        return max(self.config.max_clip_bytes, self.config.max_picture_bytes)

    async def take(self, reference: Reference | None, file: bytes | None) -> bytes | None:
        """The file that a job begins with, or None where it begins with nothing. Raises ProtocolError."""
        if reference is None and file is None:
            return None
        data = file if reference is None else await self._read(reference.image_url)
        field = FILE_FIELD if reference is None else URL_FIELD
        if not data:
            raise ProtocolError(ErrorCode.PICTURE_INVALID, "The file is empty.", field=field)
        self._check_size(data, field)
        await self.check(data, field)
        return data

    async def _read(self, url: str) -> bytes:
        if url[:5].lower() == "data:":
            return _data_in(url)
        return await self.outbound.fetch(url, field=URL_FIELD, max_bytes=self.most_bytes)

    def _check_size(self, data: bytes, field: str) -> None:
        clip = kind_of(data) is Kind.CLIP
        most = self.config.max_clip_bytes if clip else self.config.max_picture_bytes
        if len(data) > most:
            code = ErrorCode.CLIP_TOO_LARGE if clip else ErrorCode.PICTURE_TOO_LARGE
            message = f"The file has {len(data)} bytes."
            raise ProtocolError(code, message, field=field, expected=f"at most {most}")


def _data_in(url: str) -> bytes:
    """The bytes of a `data:` URL, as RFC 2397 has them. What it says of their type is not looked at."""
    head, comma, body = url[5:].partition(",")
    if not comma:
        raise _invalid("The data: URL has no comma.")
    raw = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("The data: URL is not base64.") from None


def _invalid(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.URL_INVALID, message, field=URL_FIELD, expected="data:TYPE;base64,...")
