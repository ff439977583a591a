"""What a program asks of a server's stored sessions over HTTP: to go on with one.

Knows one path and its answers; nothing of the WebSocket. Invariant: what comes back is checked: an answer that is
otherwise than expected is a ClientError that says so, a refusal one with the server's code.
"""

import json
from typing import Any
from urllib.parse import quote

from client.comeback import ResumeTicket
from client.errors import ProtocolViolation
from client.http import Ask, Server


async def ask_for_ticket(server: Server, session: str) -> ResumeTicket:
    """What it takes to go on with a session that has ended, or that was left.

    Raises:
        RequestRefused: there is no such session, or somebody directs it. ConnectFailed, ProtocolViolation.
    """
    return parse_ticket(await server.ask(Ask(f"/v1/sessions/{quote(session, safe='')}/resume", "POST", b"")))


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
