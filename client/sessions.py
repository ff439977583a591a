"""What a program asks of a server's stored sessions over HTTP: to go on with one.

Knows one address and its answers; nothing of the WebSocket. Invariant: what comes back is checked: an answer that is
otherwise than expected is a ClientError that says so, a refusal one with the server's code.
"""

import asyncio
import json
from contextlib import closing
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from client.catalogue import MODELS, models_url
from client.comeback import ResumeTicket
from client.connection import is_on_this_machine
from client.errors import ConnectFailed, ProtocolViolation, RequestRefused

_MOST_BYTES = 1024 * 1024


async def ask_for_ticket(url: str, session: str, *, timeout: float = 30.0) -> ResumeTicket:
    """What it takes to go on with a session that has ended, or that was left.

    Raises:
        RequestRefused: there is no such session, or somebody directs it. ConnectFailed, ProtocolViolation.
    """
    address = f"{models_url(url).removesuffix(MODELS)}/v1/sessions/{quote(session, safe='')}/resume"
    try:
        async with asyncio.timeout(timeout):
            direct = await is_on_this_machine(address)
        text = await asyncio.to_thread(_post, address, direct=direct, timeout=timeout)
    except HTTPError as error:
        raise refusal(error) from error
    except (OSError, HTTPException, ValueError) as error:
        raise ConnectFailed(f"expected a Longtake server at {address}: {error}") from error
    return parse_ticket(text)


def parse_ticket(text: bytes) -> ResumeTicket:
    """Raises ProtocolViolation."""
    try:
        ticket: dict[str, Any] = json.loads(text)
        session, token, following = ticket["session_id"], ticket["resume_token"], ticket["next_sequence"]
    except (ValueError, LookupError, TypeError) as error:
        raise ProtocolViolation(f"expected a ticket for a session, got {text[:80]!r}") from error
    if not (isinstance(session, str) and isinstance(token, str) and isinstance(following, int) and following >= 0):
        raise ProtocolViolation(f"expected a ticket for a session, got {text[:80]!r}")
    return ResumeTicket(session, token, following - 1 if following else None)


def _post(address: str, *, direct: bool, timeout: float) -> bytes:
    opener = build_opener(ProxyHandler({})) if direct else build_opener()
    with opener.open(Request(address, data=b"", method="POST"), timeout=timeout) as answer:
        text: bytes = answer.read(_MOST_BYTES)
        return text


def refusal(error: HTTPError) -> ConnectFailed | RequestRefused:
    """What a problem document says, where it is one; for all that is asked over HTTP."""
    try:
        with closing(error):
            problem = json.loads(error.read(_MOST_BYTES))
        return RequestRefused(str(problem["code"]), str(problem["detail"]))
    except (ValueError, LookupError, TypeError, OSError):
        return ConnectFailed(f"expected an answer that says more, the server answered {error.code}")
