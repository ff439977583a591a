"""How a session begins, or begins again: what the worker is told to start it.

It knows the wire's message, the store's course and the worker's command; nothing of connections. Invariant: a session
that has begun is started again with the seed, format and course it has, so that the same picture goes on.
"""

import math
from dataclasses import dataclass

from pydantic import ValidationError

from service import ipc
from service.access.principal import Principal
from service.api import translate
from service.api.interactions import Interactions
from service.api.replay import Replay
from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError, SessionError
from service.protocol import ServerMessage
from service.protocol.client import SessionStart
from service.store.prompts import AcceptedPrompt
from service.store.records import SessionRecord, StoredCourse


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A session that is asked for, from a picture or not. `record` and `course` are those of one that goes on."""

    session: str
    message: SessionStart
    principal: Principal
    picture: bytes | None = None
    traceparent: str = ""
    """The trace that it belongs to, where one is kept."""
    record: SessionRecord | None = None
    course: StoredCourse | None = None
    made_again: int | None = None
    """Of one that broke off: chunks from this number on had not arrived, and come again under other numbers."""
    recovered: frozenset[str] = frozenset()
    """Interactions in them, whose client may ask for them again."""
    prompts: tuple[AcceptedPrompt, ...] = ()
    """Those that were accepted before: some wait for their block, some have ended."""
    waiting: tuple[ipc.Interact, ...] = ()
    """What the worker is told of those that wait."""
    unheard: tuple[ServerMessage, ...] = ()
    """How prompts ended of which the client may not have heard."""
    notes: tuple[str, ...] = ()
    """What hooks said of its first prompt, for its record."""

    @property
    def next_sequence(self) -> int:
        return self.course.next_sequence if self.course else 0


def opening_of(
    record: SessionRecord, course: StoredCourse, *, prompts: tuple[AcceptedPrompt, ...], principal: Principal
) -> Opening:
    """A session of the store goes on. Raises SessionError where its record cannot be read."""
    try:
        message = SessionStart.model_validate_json(record.options)
        waiting = tuple(translate.accepted_command(prompt, record.id) for prompt in prompts if prompt.outcome is None)
    except ValidationError as error:
        raise SessionError(ErrorCode.RECORD_INVALID, f"session {record.id} was started in an unknown way") from error
    return Opening(
        session=record.id,
        message=message,
        principal=principal,
        record=record,
        course=course,
        prompts=prompts,
        waiting=waiting,
    )


def interactions_of(opening: Opening, config: ServiceConfig) -> Interactions:
    """The ids that are taken in it, and what waits."""
    made = Interactions(waiting=config.interaction_queue, remembered=config.remembered_events)
    if opening.message.event_id:
        made.reserve(opening.message.event_id)
    for prompt in opening.prompts:
        made.restore(prompt.event_id, prompt.digest, waiting=prompt.outcome is None)
    for event_id in opening.recovered:
        made.recover(event_id)
    return made


def credits_for(message: SessionStart, facts: ipc.Facts | None, *, config: ServiceConfig) -> int:
    """Chunks that may be under way: those between worker and socket, and those that are made ahead."""
    if facts is None or message.buffer_seconds == 0:
        return config.session_credits
    return config.session_credits + math.ceil(message.buffer_seconds * facts.fps / facts.frames_per_block)


def replay_for(opening: Opening, config: ServiceConfig, *, credits: int) -> Replay:
    """As long as the grace and the lead need, and the time in which a lost connection is noticed."""
    notice = config.ping_interval + config.ping_timeout
    return Replay(
        seconds=config.resume_grace + opening.message.buffer_seconds + notice,
        max_bytes=config.replay_max_bytes,
        keep_chunks=credits + 1,
        first=opening.next_sequence,
    )


def first_start(opening: Opening, config: ServiceConfig, *, credits: int) -> ipc.Start:
    """The first start of this hub's session."""
    asked = opening.message.max_seconds
    limit = config.max_seconds if asked is None else asked
    start = translate.start_command(opening.message, opening.session, credits=credits, max_seconds=limit)
    start = ipc.changed(start, picture=opening.picture, traceparent=opening.traceparent)
    if opening.record is None or opening.course is None:
        return start
    start = ipc.changed(start, interactions=opening.waiting)
    return again(start, seed=opening.record.seed, course=translate.course_of(opening.course, ()), take=None)


def again(start: ipc.Start, *, seed: int | None, course: ipc.Course | None, take: int | None) -> ipc.Start:
    """The same session, from where it is."""
    # With a course, the first prompt has been applied, and the worker has kept what the picture became.
    event_id, picture = ("", None) if course else (start.event_id, start.picture)
    return ipc.changed(start, seed=seed, course=course, take=take, event_id=event_id, picture=picture)


def not_so_far(last: int, next_sequence: int) -> ProtocolError:
    return ProtocolError(
        ErrorCode.FIELD_RANGE,
        f"The session has not come to chunk {last}.",
        field="last_sequence",
        expected=f"less than {next_sequence}",
    )
