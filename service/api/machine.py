"""What one connection does about everything that can happen to it, as a state machine without I/O.

It knows nothing of sockets, tasks, sessions' hubs or the worker: messages, news and the time go in; replies and
requests come out. Invariant: from the first message accepted to CLOSED there is exactly one terminal reply
(`session.done` or a fatal error), it is the last one, and the close code comes with it.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto

from service.api import translate
from service.api.rate import TokenBucket
from service.api.reply import Reply
from service.api.stats import Pulse, SessionTally
from service.config import ServiceConfig
from service.errors import CloseCode, ErrorCode, ProtocolError, facts_of
from service.protocol import ClientMessage, Limits, parse_client_message
from service.protocol.client import (
    SessionCheckpoint,
    SessionControl,
    SessionDirect,
    SessionFork,
    SessionInteraction,
    SessionJoin,
    SessionPing,
    SessionPlayback,
    SessionResume,
    SessionStart,
    SessionStop,
    SlowConsumer,
)
from service.protocol.server import ChunkMetadata, Role, SessionDone, SessionDraining, SessionPong, SessionQueued


class State(Enum):
    """Where a connection stands. WAITING ends when there is a place, STARTING when the session is there."""

    AWAITING_START = auto()
    WAITING = auto()
    STARTING = auto()
    STREAMING = auto()
    STOPPING = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client's message leads to: replies, and what is asked of the session, or for one."""

    replies: tuple[Reply, ...] = ()
    request: ClientMessage | None = None


class Machine:
    """One connection."""

    def __init__(self, config: ServiceConfig, *, now: float) -> None:
        self._config = config
        self._limits = Limits(json_depth=config.max_json_depth, prompt_chars=config.max_prompt_chars)
        self._bucket = TokenBucket(config.message_rate, config.message_burst, now=now)
        self.tally = SessionTally()
        self.slow_consumer: SlowConsumer = "pause"
        self.role: Role = "director"
        self._entered_at = now
        self._alive_at = now
        self.state = State.AWAITING_START

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
            return Outcome(self.refusal(error))

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
        return Outcome(self.refusal(error))

    def took(self, chunk: ChunkMetadata, now: float) -> None:
        """The client's socket took a chunk: a sign of life."""
        self._alive_at = now
        self.tally.sent(chunk, now)

    # What the session does

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

    def began(self, role: Role, *, now: float) -> None:
        """The session is there, and this connection directs or watches it."""
        self.role = role
        if self.state is State.STARTING:
            self._enter(State.STREAMING, now)

    def refused(self, now: float) -> None:
        """What was asked for cannot be had; something else may be asked for."""
        if self.state is State.STARTING:
            self._enter(State.AWAITING_START, now)

    def refusal(self, error: ProtocolError) -> tuple[Reply, ...]:
        """A message that was not accepted."""
        return () if self.state is State.CLOSED else (Reply(translate.refusal_message(error)),)

    def draining(self, deadline_seconds: float) -> tuple[Reply, ...]:
        """The server will end this session before long."""
        if self.state not in (State.STARTING, State.STREAMING):
            return ()
        return (Reply(SessionDraining(deadline_seconds=deadline_seconds)),)

    def report(self, now: float, pulse: Pulse) -> tuple[Reply, ...]:
        """The session's figures, and a warning if frames were dropped since the last report."""
        figures = self.tally.report(now, pulse) if self.state is State.STREAMING else None
        if figures is None:
            return ()
        dropped = self.tally.drops_to_warn_of()
        warning = (Reply(translate.drop_warning(dropped)),) if dropped else ()
        return (*warning, Reply(figures))

    def ended(self, now: float) -> None:
        """The session's last word was said."""
        self._enter(State.CLOSED, now)

    def fail(self, code: ErrorCode, message: str, *, now: float) -> tuple[Reply, ...]:
        """The connection cannot go on, whatever its state."""
        if self.state is State.CLOSED:
            return ()
        self._enter(State.CLOSED, now)
        close = facts_of(code).close or CloseCode.POLICY
        wait = translate.retry_after(close, self._config)
        return (Reply(translate.fatal_message(code, message, retry_after=wait), close=close),)

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
            case SessionStart() | SessionResume() | SessionJoin():
                return self._begin(message, now)
            case SessionPing():
                return Outcome((Reply(SessionPong(id=message.id)),))
            case SessionStop():
                return self._stop(now)
            case SessionPlayback() | SessionDirect():
                self._require_session()
            case SessionInteraction() | SessionControl() | SessionFork() | SessionCheckpoint():
                self._require_session(message.event_id or "")
        return Outcome(request=message)

    def _begin(self, message: SessionStart | SessionResume | SessionJoin, now: float) -> Outcome:
        event_id = (message.event_id if isinstance(message, SessionStart) else None) or ""
        if self.state is not State.AWAITING_START:
            raise ProtocolError(
                ErrorCode.SESSION_ALREADY_STARTED,
                "This connection has its session already.",
                field="type",
                expected="any other message, or another connection",
                event_id=event_id,
            )
        if isinstance(message, SessionStart):
            self._check_length(message, event_id)
        self.slow_consumer = message.slow_consumer
        self._enter(State.STARTING, now)
        return Outcome(request=message)

    def _check_length(self, message: SessionStart, event_id: str) -> None:
        limit = self._config.max_seconds
        if message.max_seconds is not None and message.max_seconds > limit:
            raise ProtocolError(
                ErrorCode.LENGTH_LIMIT,
                f"{message.max_seconds:g} s were asked for.",
                field="max_seconds",
                expected=f"at most {limit:g}",
                event_id=event_id,
            )

    def _stop(self, now: float) -> Outcome:
        if self.state is State.WAITING:
            self._enter(State.CLOSED, now)
            return Outcome((Reply(translate.nothing_done(), close=CloseCode.NORMAL),))
        self._require_session()
        if self.role == "viewer":
            self._enter(State.CLOSED, now)
            left = SessionDone(reason="left", chunks=self.tally.chunks, frames=self.tally.frames, journal={})
            return Outcome((Reply(left, close=CloseCode.NORMAL),))
        self._enter(State.STOPPING, now)
        return Outcome(request=SessionStop())

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

    def _enter(self, state: State, now: float) -> None:
        self.state = state
        self._entered_at = now
