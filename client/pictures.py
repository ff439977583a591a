"""A picture for a session to start from, sent to the server over HTTP: its id goes into `session.start`.

Knows one address and its answers; nothing of the WebSocket or of what a picture is. Invariant: what comes back is
checked: a refusal is an error with the server's code, anything else than an id a ClientError that says so.
"""

import asyncio
import json
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from client.catalogue import MODELS, models_url
from client.connection import is_on_this_machine, own_origin, realtime_url
from client.errors import ConnectFailed, ProtocolViolation
from client.sessions import refusal

PICTURES = "/v1/pictures"
_MOST_BYTES = 1024 * 1024


async def send_picture(url: str, picture: bytes | Path, *, timeout: float = 60.0) -> str:
    """The id of a PNG, JPEG or WebP file (its bytes, or where it lies), good for a short time.

    Raises:
        RequestRefused: it is too large, or there are too many. ConnectFailed, ProtocolViolation, OSError.
    """
    data = picture if isinstance(picture, bytes) else await asyncio.to_thread(picture.read_bytes)
    address = models_url(url).removesuffix(MODELS) + PICTURES
    try:
        async with asyncio.timeout(timeout):
            direct = await is_on_this_machine(address)
        origin = None if direct else own_origin(realtime_url(url))
        text = await asyncio.to_thread(_post, address, data, origin=origin, timeout=timeout)
    except HTTPError as error:
        raise refusal(error) from error
    except (OSError, HTTPException, ValueError) as error:
        raise ConnectFailed(f"expected a Longtake server at {address}: {error}") from error
    return parse_picture_id(text)


def parse_picture_id(text: bytes) -> str:
    """Raises ProtocolViolation."""
    try:
        picture_id = json.loads(text)["picture_id"]
    except (ValueError, LookupError, TypeError) as error:
        raise ProtocolViolation(f"expected the id of a picture, got {text[:80]!r}") from error
    if not isinstance(picture_id, str) or not picture_id:
        raise ProtocolViolation(f"expected the id of a picture, got {picture_id!r}")
    return picture_id


def _post(address: str, data: bytes, *, origin: str | None, timeout: float) -> bytes:
    """`origin`: the server's own, where it is on another machine (see client.connection)."""
    headers = {"Content-Type": "application/octet-stream"} | ({"Origin": origin} if origin else {})
    opener = build_opener() if origin else build_opener(ProxyHandler({}))
    with opener.open(Request(address, data=data, headers=headers, method="POST"), timeout=timeout) as answer:
        text: bytes = answer.read(_MOST_BYTES)
        return text
