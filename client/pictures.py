"""A picture for a session to start from, sent to the server over HTTP: its id goes into `session.start`.

Knows one path and its answers; nothing of the WebSocket or of what a picture is. Invariant: what comes back is
checked: a refusal is an error with the server's code, anything else than an id a ClientError that says so.
"""

import asyncio
import json
from pathlib import Path

from client.errors import ProtocolViolation
from client.http import Ask, Server

PICTURES = "/v1/pictures"


async def send_picture(server: Server, picture: bytes | Path) -> str:
    """The id of a PNG, JPEG or WebP file (its bytes, or where it lies), good for a short time.

    Raises:
        RequestRefused: it is too large, or there are too many. ConnectFailed, ProtocolViolation, OSError.
    """
    data = picture if isinstance(picture, bytes) else await asyncio.to_thread(picture.read_bytes)
    return parse_picture_id(await server.ask(Ask(PICTURES, "POST", data, "application/octet-stream")))


def parse_picture_id(text: bytes) -> str:
    """Raises ProtocolViolation."""
    try:
        picture_id = json.loads(text)["picture_id"]
    except (ValueError, LookupError, TypeError) as error:
        raise ProtocolViolation(f"expected the id of a picture, got {text[:80]!r}") from error
    if not isinstance(picture_id, str) or not picture_id:
        raise ProtocolViolation(f"expected the id of a picture, got {picture_id!r}")
    return picture_id
