"""A session of the store is taken up: one that another process left or lost, one that broke off, or one that had ended.

It knows the store and the client's word; nothing of hubs or sockets. Invariants: a token opens a session once; what a
client had not received when its session broke off is taken back, and made again the same; where this fails, the
session is as it was.
"""

import json
from collections.abc import Iterable
from dataclasses import replace

from service.access.principal import Principal
from service.api.opening import Opening, not_so_far, opening_of
from service.api.services import Services
from service.api.tokens import digest_of
from service.errors import ErrorCode, ProtocolError, SessionError
from service.protocol import ServerMessage, parse_server_message
from service.protocol.client import SessionResume
from service.protocol.server import InteractionRejected, InteractionSuperseded
from service.store.failures import TokenRefused
from service.store.holding import Claim
from service.store.prompts import AcceptedPrompt
from service.store.records import TAKEN_UP


async def take_over(message: SessionResume, *, services: Services, principal: Principal) -> Opening:
    """The session, held by this process. Raises SessionError or ProtocolError; it may be tried again then."""
    session, holds = message.session_id, services.store.holds
    services.worker.require_ready()
    try:
        grace = services.config.resume_token_seconds
        claim = await holds.claim(session, digest_of(message.resume_token), grace=grace)
    except TokenRefused as error:
        raise (token_invalid() if error.known or error.live else session_ended(session)) from None
    try:
        return await _opening(claim, message, services=services, principal=principal)
    except (SessionError, ProtocolError):
        if claim.record.live:
            await holds.let_go(session, seconds=services.config.resume_grace)
        else:
            await services.store.end_session(session, claim.record.end_reason or "stopped")
        raise


async def _opening(claim: Claim, message: SessionResume, *, services: Services, principal: Principal) -> Opening:
    record, store, made_again = claim.record, services.store, None
    last = -1 if message.last_sequence is None else message.last_sequence
    if record.end_reason in (None, "interrupted"):
        if last >= record.next_sequence:
            raise not_so_far(last, record.next_sequence)
        missed = [row.block for row in await store.chunks(record.id) if row.sequence > last]
        if missed:
            made_again = last + 1
            await store.take_back(record.id, min(missed), from_sequence=made_again, reason=TAKEN_UP)
    course, prompts = await store.course(record.id), await store.prompts(record.id)
    opening = opening_of(record, course, prompts=prompts, principal=principal)
    unheard = _unheard(prompts, last)
    return replace(opening, made_again=made_again, recovered=frozenset(_ids(course.waiting)), unheard=unheard)


def _unheard(prompts: Iterable[AcceptedPrompt], last: int) -> tuple[ServerMessage, ...]:
    """Ends that were told, if at all, after the last chunk that came whole; a beginning comes with its chunk again."""
    late = (prompt for prompt in prompts if prompt.sequence is not None and prompt.sequence > last)
    told = (parse_server_message(prompt.outcome) for prompt in late if prompt.outcome)
    return tuple(said for said in told if isinstance(said, InteractionSuperseded | InteractionRejected))


def _ids(events: Iterable[str]) -> Iterable[str]:
    """Of interactions that will take effect again."""
    found = (json.loads(event).get("event_id") for event in events)
    return (event_id for event_id in found if event_id)


def token_invalid() -> ProtocolError:
    return ProtocolError(
        ErrorCode.RESUME_TOKEN_INVALID,
        "The token is not good for this session.",
        field="resume_token",
        expected="the newest token of the session, which was not used before",
    )


def session_ended(session: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.SESSION_ENDED,
        f"Session {session[:128]} has ended.",
        field="session_id",
        expected="a session that lives, or a token from POST /v1/sessions/{session}/resume",
    )
