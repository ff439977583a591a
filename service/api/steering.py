"""What connections ask of a running session: prompts, controls, forks, names for places, handing over.

It knows the wire's messages and a session's hub; nothing of sockets. Invariants: only who directs steers; what is
refused changes nothing; what the worker has to answer is answered to all, what the store answers to who asked.
"""

import json
import uuid

from service import ipc
from service.api import translate
from service.api.audience import Listener
from service.api.hub import SessionHub
from service.api.interactions import Acceptance
from service.api.prompting import interaction_through_hooks, texts_of, write_notes
from service.api.reply import Reply
from service.api.saying import say_prompts
from service.api.services import Services
from service.errors import ErrorCode, ProtocolError
from service.protocol.client import (
    ClientMessage,
    SessionCheckpoint,
    SessionControl,
    SessionDirect,
    SessionFork,
    SessionInteraction,
    SessionPlayback,
    SessionStop,
)
from service.protocol.server import InteractionQueued, InteractionRejected, SessionCheckpointed, SessionForked
from service.store.failures import StoreFailed
from service.store.history import CoursePoint


async def steer(hub: SessionHub, message: ClientMessage, *, listener: Listener, services: Services) -> None:
    """Carries out what a connection asks. Raises ProtocolError or SessionError where it cannot be."""
    try:
        await _steer(hub, message, listener, services)
    except StoreFailed as error:
        event_id = getattr(message, "event_id", None) or ""
        raise ProtocolError(ErrorCode.STORE_BEHIND, f"Not now: {error.message}.", event_id=event_id) from error


async def _steer(hub: SessionHub, message: ClientMessage, listener: Listener, services: Services) -> None:
    match message:
        case SessionPlayback():
            if listener is hub.audience.director:
                await hub.orders.play(translate.playback_command(message, hub.session))
        case SessionStop():
            hub.stop()
        case SessionInteraction():
            _check(hub, listener, message.event_id)
            await _interact(hub, listener, message, services)
        case SessionControl():
            _check(hub, listener, message.event_id or "")
            await _control(hub, message, services)
        case SessionFork():
            _check(hub, listener, message.event_id or "")
            await _fork(hub, listener, message, services)
        case SessionCheckpoint():
            _check(hub, listener, message.event_id or "")
            await _checkpoint(hub, listener, message)
        case SessionDirect():
            hub.audience.direct(listener, message)
            hub.look()
        case _:
            raise AssertionError(f"{message.type} begins a session or is answered before")


def _check(hub: SessionHub, listener: Listener, event_id: str) -> None:
    if hub.stopping:
        raise ProtocolError(
            ErrorCode.SESSION_STOPPING,
            "The session is ending.",
            field="type",
            expected="session.ping, or nothing until session.done",
            event_id=event_id,
        )
    hub.audience.direction.check(listener, event_id)


async def _interact(hub: SessionHub, listener: Listener, message: SessionInteraction, services: Services) -> None:
    said, notes = await interaction_through_hooks(hub, message, services=services)
    if hub.interactions.accept(message) is Acceptance.RETRY:
        await hub.keeping.accepted()
        listener.tell(Reply(InteractionQueued(event_id=message.event_id)))
        return
    try:
        await hub.keeping.accept(translate.accepted_prompt(message, said))
        await write_notes(hub, notes)
    except StoreFailed as error:
        hub.interactions.forget(message.event_id)
        listener.tell(Reply(InteractionRejected(event_id=message.event_id, code=error.code, message=error.message)))
        return
    say_prompts(said, config=services.config, session=hub.session)
    hub.interactions.latest = texts_of(said)
    await hub.orders.give(translate.interact_command(said, hub.session))


async def _control(hub: SessionHub, message: SessionControl, services: Services) -> None:
    if message.action != "rewind":
        await hub.orders.give(translate.control_command(message, hub.session))
        return
    block = hub.track.block_at(message, fps=hub.audience.fps)
    take = None if message.same_noise else await services.store.next_take(hub.keeping.family)
    command = ipc.Rewind(session=hub.session, block=block, take=take, event_id=message.event_id or "")
    await hub.orders.give(command)


async def _fork(hub: SessionHub, listener: Listener, message: SessionFork, services: Services) -> None:
    point = CoursePoint(block=hub.track.block_at(message, fps=hub.audience.fps))
    fork = await services.store.fork(hub.session, uuid.uuid4().hex, point=point, same_noise=message.same_noise)
    until = services.clock() + services.config.resume_token_seconds
    listener.tell(
        Reply(
            SessionForked(
                session_id=fork.id,
                resume_token=services.tokens.issue(fork.id, until=until),
                block=fork.next_sequence,
                event_id=message.event_id,
            )
        )
    )


async def _checkpoint(hub: SessionHub, listener: Listener, message: SessionCheckpoint) -> None:
    sequence, block = hub.audience.next_sequence, len(hub.track)
    note = {"type": "checkpoint", "name": message.name, "sequence": sequence, "block": block}
    await hub.keeping.note(json.dumps(note, ensure_ascii=False))
    answer = SessionCheckpointed(name=message.name, sequence=sequence, block=block, event_id=message.event_id)
    listener.tell(Reply(answer))
