"""What one connection does about everything that can happen to it, as a state machine without I/O.

It knows nothing of sockets, tasks or the worker's process: messages, events and the time go in; replies
and commands come out. Invariant: from `session.start` accepted to CLOSED there is exactly one terminal
reply (`session.done` or a fatal error), it is the last one, and the close code comes with it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from service import ipc
from service.api import translate
from service.api.interactions import Acceptance, Interactions
from service.api.rate import TokenBucket
from service.api.reply import Reply
from service.api.stats import SessionTally
from service.config import ServiceConfig
from service.errors import CloseCode, ErrorCode, ProtocolError, facts_of
from service.protocol import ClientMessage, Limits, parse_client_message
from service.protocol.client import (
    SessionControl,
    SessionInteraction,
    SessionPing,
    SessionPlayback,
    SessionStart,
    SessionStop,
    SlowConsumer,
)
from service.protocol.server import (
    ChunkMetadata,
    InteractionQueued,
    InteractionRejected,
    SessionDraining,
    SessionPong,
    SessionQueued,
)


class State(Enum):
    """Where a connection stands. WAITING ends when there is a place, STARTING when the worker answers."""

    AWAITING_START = auto()
    WAITING = auto()
    STARTING = auto()
    STREAMING = auto()
    STOPPING = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client's message leads to: replies, and at most one command for the worker."""

    replies: tuple[Reply, ...] = ()
    command: ipc.Start | ipc.Interact | ipc.Control | ipc.Playback | ipc.Stop | None = None


class Machine:
    """One connection. `new_id` names sessions; a start that failed and is tried again gets another id."""

    def __init__(self, config: ServiceConfig, *, new_id: Callable[[], str], now: float) -> None:
        self._config = config
        self._new_id = new_id
        self._limits = Limits(json_depth=config.max_json_depth, prompt_chars=config.max_prompt_chars)
        self._bucket = TokenBucket(config.message_rate, config.message_burst, now=now)
        self._interactions = Interactions(waiting=config.interaction_queue, remembered=config.remembered_events)
        self._media = translate.Media()
        self._next_sequence = 0
        self._started = False
        self.tally = SessionTally()
        self.slow_consumer: SlowConsumer = "pause"
        self._entered_at = now
        self._alive_at = now
        self.state = State.AWAITING_START
        self.session = ""

    # What the client does

    def text(self, text: str, now: float) -> Outcome:
        """A text message came."""
        if self.state is State.CLOSED:
            return Outcome()
        self._alive_at = now
        wait = self._bucket.take(now)
        if wait > 0:
            error = ProtocolError(
                ErrorCode.RATE_LIMITED,
                "Messages come too fast; this one was not read.",
                expected=f"at most {self._config.message_rate:g} per second",
            )
            return Outcome((Reply(translate.refusal_message(error, retry_after=round(wait, 3))),))
        try:
            return self._act(parse_client_message(text, self._limits), now)
        except ProtocolError as error:
            return Outcome((Reply(translate.refusal_message(error)),))

    def binary(self, length: int, now: float) -> Outcome:
        """A binary message came, which no client has a reason to send."""
        if self.state is State.CLOSED:
            return Outcome()
        self._alive_at = now
        error = ProtocolError(
            ErrorCode.BINARY_UNEXPECTED,
            f"A binary message of {length} bytes came.",
            expected="text messages with JSON",
        )
        return Outcome((Reply(translate.refusal_message(error)),))

    def took(self, chunk: ChunkMetadata, now: float) -> None:
        """The client's socket took a chunk: a sign of life."""
        self._alive_at = now
        self.tally.sent(chunk, now)

    # What the service around it does

    def queued(self, position: int, waiting: int, *, now: float) -> tuple[Reply, ...]:
        """There is no place yet, or this session's turn has come nearer."""
        if self.state is State.STARTING:
            self._enter(State.WAITING, now)
        if self.state is not State.WAITING:
            return ()
        return (Reply(SessionQueued(position=position, waiting=waiting)),)

    def admitted(self, now: float) -> None:
        """A session that waited has its place; the worker is asked now."""
        if self.state is State.WAITING:
            self._enter(State.STARTING, now)

    def draining(self, deadline_seconds: float) -> tuple[Reply, ...]:
        """The server will end this session before long."""
        if self.state not in (State.STARTING, State.STREAMING):
            return ()
        return (Reply(SessionDraining(deadline_seconds=deadline_seconds)),)

    def report(self, now: float) -> tuple[Reply, ...]:
        """The session's figures, and a warning if frames were dropped since the last report."""
        figures = self.tally.report(now) if self.state is State.STREAMING else None
        if figures is None:
            return ()
        dropped = self.tally.drops_to_warn_of()
        warning = (Reply(translate.drop_warning(dropped)),) if dropped else ()
        return (*warning, Reply(figures))

    # What the worker does

    def event(self, event: ipc.SessionEvent, now: float) -> tuple[Reply, ...]:
        """The worker says something about a session; about another one than this, it is not heard."""
        if self.state is State.CLOSED or event.session != self.session:
            return ()
        match event:
            case ipc.Started():
                return self._on_started(event, now)
            case ipc.Chunk():
                return self._on_chunk(event, now)
            case ipc.Queued() | ipc.Applied() | ipc.Superseded() | ipc.Rejected():
                return self._on_interaction(event)
            case ipc.ControlApplied():
                return self._on_control(event)
            case ipc.Warned():
                return (Reply(translate.warning_message(event)),)
            case ipc.Ended():
                return self._on_ended(event, now)
            case ipc.Failed():
                return self._on_failed(event, now)

    def fail(self, code: ErrorCode, message: str, *, now: float) -> tuple[Reply, ...]:
        """The connection cannot go on, whatever its state."""
        if self.state is State.CLOSED:
            return ()
        self._enter(State.CLOSED, now)
        close = facts_of(code).close or CloseCode.INTERNAL
        return (Reply(translate.fatal_message(code, message, retry_after=self._retry_after(close)), close=close),)

    def _retry_after(self, close: CloseCode) -> float | None:
        """What a client is told to wait where waiting may help."""
        return self._config.retry_after if close in (CloseCode.TRY_LATER, CloseCode.RESTART) else None

    # What time does

    def deadline(self) -> float:
        """When `overdue` has to be asked, unless something happens before."""
        config = self._config
        match self.state:
            case State.AWAITING_START:
                return self._entered_at + config.start_timeout
            case State.WAITING:
                return math.inf  # the waiting room keeps that time
            case State.STARTING | State.STOPPING:
                return self._entered_at + config.answer_timeout
            case State.STREAMING:
                return self._alive_at + config.idle_timeout
            case State.CLOSED:
                return self._entered_at + config.close_timeout

    def overdue(self, now: float) -> tuple[Reply, ...]:
        """What a deadline that has passed leads to."""
        if now < self.deadline():
            return ()
        config = self._config
        match self.state:
            case State.AWAITING_START:
                message = f"No session was started within {config.start_timeout:g} s."
                return self.fail(ErrorCode.START_TIMEOUT, message, now=now)
            case State.STARTING | State.STOPPING:
                message = f"The engine did not answer within {config.answer_timeout:g} s."
                return self.fail(ErrorCode.WORKER_STALLED, message, now=now)
            case State.STREAMING:
                message = f"Nothing was heard of the client for {config.idle_timeout:g} s."
                return self.fail(ErrorCode.IDLE_TIMEOUT, message, now=now)
            case State.WAITING | State.CLOSED:
                return ()

    # Client messages, one by one

    def _act(self, message: ClientMessage, now: float) -> Outcome:
        match message:
            case SessionStart():
                return self._start(message, now=now)
            case SessionInteraction():
                return self._interact(message)
            case SessionControl():
                self._require_session(message.event_id or "")
                return Outcome(command=translate.control_command(message, self.session))
            case SessionPlayback():
                self._require_session()
                return Outcome(command=translate.playback_command(message, self.session))
            case SessionPing():
                return Outcome((Reply(SessionPong(id=message.id)),))
            case SessionStop():
                return self._stop(now)

    def _start(self, message: SessionStart, now: float) -> Outcome:
        if self.state is not State.AWAITING_START:
            raise ProtocolError(
                ErrorCode.SESSION_ALREADY_STARTED,
                "This connection has its session already.",
                field="type",
                expected="any other message, or another connection",
                event_id=message.event_id or "",
            )
        limit = self._config.max_seconds
        if message.max_seconds is not None and message.max_seconds > limit:
            raise ProtocolError(
                ErrorCode.LENGTH_LIMIT,
                f"{message.max_seconds:g} s were asked for.",
                field="max_seconds",
                expected=f"at most {limit:g}",
                event_id=message.event_id or "",
            )
        self.session = self._new_id()
        self._media = translate.Media(message.format, message.quality)
        self.slow_consumer = message.slow_consumer
        if message.event_id:
            self._interactions.reserve(message.event_id)
        self._enter(State.STARTING, now)
        command = translate.start_command(
            message,
            self.session,
            credits=self._config.session_credits,
            max_seconds=limit if message.max_seconds is None else message.max_seconds,
        )
        return Outcome(command=command)

    def _interact(self, message: SessionInteraction) -> Outcome:
        self._require_session(message.event_id)
        if self._interactions.accept(message) is Acceptance.RETRY:
            return Outcome((Reply(InteractionQueued(event_id=message.event_id)),))
        return Outcome(command=translate.interact_command(message, self.session))

    def _stop(self, now: float) -> Outcome:
        if self.state is State.WAITING:
            self._enter(State.CLOSED, now)
            return Outcome((Reply(translate.nothing_done(), close=CloseCode.NORMAL),))
        self._require_session()
        self._enter(State.STOPPING, now)
        return Outcome(command=ipc.Stop(session=self.session))

    def _require_session(self, event_id: str = "") -> None:
        if self.state is State.WAITING:
            raise ProtocolError(
                ErrorCode.SESSION_NOT_STARTED,
                "The session waits for a place.",
                field="type",
                expected="session.ping or session.stop, until video.start",
                event_id=event_id,
            )
        if self.state is State.AWAITING_START:
            raise ProtocolError(
                ErrorCode.SESSION_NOT_STARTED,
                "There is no session yet.",
                field="type",
                expected="session.start",
                event_id=event_id,
            )
        if self.state is State.STOPPING:
            raise ProtocolError(
                ErrorCode.SESSION_STOPPING,
                "The session is ending.",
                field="type",
                expected="session.ping, or nothing until session.done",
                event_id=event_id,
            )

    # Worker events, one by one

    def _on_started(self, event: ipc.Started, now: float) -> tuple[Reply, ...]:
        self._started = True
        if self.state is State.STARTING:
            self._enter(State.STREAMING, now)
        self._media = self._media.of_size(event.width, event.height)
        start = translate.video_start(event, self._media.format, limits=translate.session_limits(self._config))
        return (Reply(start), Reply(self._media.message(0)))

    def _on_interaction(self, event: ipc.Queued | ipc.Applied | ipc.Superseded | ipc.Rejected) -> tuple[Reply, ...]:
        if not isinstance(event, ipc.Queued):
            self._interactions.finish(event.event_id)
        if isinstance(event, ipc.Applied):
            self.tally.switched(event.latency_ms)
        return (Reply(translate.interaction_message(event)),)

    def _on_control(self, event: ipc.ControlApplied) -> tuple[Reply, ...]:
        applied = Reply(translate.control_message(event))
        if event.quality is None:
            return (applied,)
        self._media = self._media.of_quality(event.quality)
        return (applied, Reply(self._media.message(event.sequence)))

    def _on_chunk(self, event: ipc.Chunk, now: float) -> tuple[Reply, ...]:
        if not self._started or event.sequence != self._next_sequence:
            message = f"The engine sent chunk {event.sequence} where {self._next_sequence} was due."
            return self.fail(ErrorCode.INTERNAL_ERROR, message, now=now)
        self._next_sequence += 1
        self.tally.made(event, now)
        return (Reply(translate.chunk_metadata(event), payload=event.payload),)

    def _on_ended(self, event: ipc.Ended, now: float) -> tuple[Reply, ...]:
        try:
            message = translate.done_message(event)
        except ValueError:
            return self.fail(ErrorCode.INTERNAL_ERROR, "The engine's journal is not a JSON object.", now=now)
        self._enter(State.CLOSED, now)
        return (Reply(message, close=CloseCode.NORMAL),)

    def _on_failed(self, event: ipc.Failed, now: float) -> tuple[Reply, ...]:
        """A start that was refused may be tried again; anything else is the end."""
        facts = facts_of(event.code)
        if self.state is State.STARTING and not facts.fatal:
            self._enter(State.AWAITING_START, now)
            self.session = ""
            rejected = tuple(Reply(self._rejected(event_id)) for event_id in self._interactions.end())
            return (Reply(translate.failure_message(event, fatal=False)), *rejected)
        self._enter(State.CLOSED, now)
        close = facts.close or CloseCode.POLICY
        message = translate.failure_message(event, fatal=True, retry_after=self._retry_after(close))
        return (Reply(message, close=close),)

    def _rejected(self, event_id: str) -> InteractionRejected:
        return InteractionRejected(
            event_id=event_id, code=ErrorCode.SESSION_NOT_STARTED, message="The session could not be started."
        )

    def _enter(self, state: State, now: float) -> None:
        self.state = state
        self._entered_at = now
