"""The connection's state machine, without sockets: every input in every state, and one last word always."""

from collections.abc import Iterator

import pytest

from service import ipc
from service.api.machine import Machine, Outcome, State
from service.api.reply import Reply
from service.config import ServiceConfig
from service.errors import CloseCode, ErrorCode
from service.protocol import encode_message
from service.protocol.client import (
    ClientMessage,
    SessionControl,
    SessionInteraction,
    SessionPing,
    SessionPlayback,
    SessionStart,
    SessionStop,
)
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    InteractionQueued,
    InteractionRejected,
    MediaInit,
    SessionControlApplied,
    SessionDone,
    SessionQueued,
    VideoStart,
)
from tests.service.bad_messages import BAD_MESSAGES, BadMessage
from tests.service.fakes import FakeWorker

CONFIG = ServiceConfig(message_rate=1e6, message_burst=10**6)
START = SessionStart(prompt="a lighthouse", seed=1)


class Bench:
    """A machine and a fake worker on one clock; `say` and `work` return what the client would hear."""

    def __init__(self, config: ServiceConfig = CONFIG) -> None:
        self.now = 100.0
        names: Iterator[str] = iter(f"s{number}" for number in range(10**6))
        self.machine = Machine(config, new_id=lambda: next(names), now=self.now)
        self.events: list[ipc.Event] = []
        self.worker = FakeWorker(self.events.append)

    def say(self, message: ClientMessage | str) -> list[Reply]:
        text = message if isinstance(message, str) else encode_message(message)
        return self._carry_out(self.machine.text(text, self.now))

    def work(self) -> list[Reply]:
        self.worker.make_chunks()
        return self._hear()

    def wait(self, seconds: float) -> list[Reply]:
        self.now += seconds
        return list(self.machine.overdue(self.now))

    def _carry_out(self, outcome: Outcome) -> list[Reply]:
        if outcome.command is not None:
            self.worker.handle(outcome.command)
        return [*outcome.replies, *self._hear()]

    def _hear(self) -> list[Reply]:
        replies: list[Reply] = []
        while self.events:
            event = self.events.pop(0)
            assert isinstance(event, ipc.SessionEvent)
            replies += self.machine.event(event, self.now)
        return replies


def only_error(replies: list[Reply]) -> ErrorMessage:
    assert len(replies) == 1
    message = replies[0].message
    assert isinstance(message, ErrorMessage)
    return message


def test_states_from_start_to_end() -> None:
    bench = Bench()
    start, media = bench.say(START)
    assert isinstance(start.message, VideoStart)
    assert media.message == MediaInit(format="jpeg", quality=85, width=96, height=96, sequence=0)
    (chunk,) = bench.work()
    assert chunk.payload
    (done,) = bench.say(SessionStop())
    assert isinstance(done.message, SessionDone)
    assert done.close is CloseCode.NORMAL
    assert bench.machine.state is State.CLOSED


def test_the_command_says_what_the_client_asked() -> None:
    bench = Bench()
    bench.say(START.model_copy(update={"format": "webp", "quality": 7, "pacing": "none", "event_id": "first"}))
    assert bench.worker.commands == [
        ipc.Start(
            session="s0",
            prompts=(ipc.Prompt("a lighthouse", 1.0),),
            seed=1,
            model="demo",
            format="webp",
            quality=7,
            pacing="none",
            max_seconds=CONFIG.max_seconds,
            credits=CONFIG.session_credits,
            event_id="first",
        )
    ]


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: bad.name)
@pytest.mark.parametrize("state", [State.AWAITING_START, State.WAITING, State.STREAMING, State.STOPPING])
def test_a_bad_message_changes_nothing_in_any_state(state: State, bad: BadMessage) -> None:
    bench = in_state(state)
    error = only_error(list(bench.machine.text(bad.text, bench.now).replies))
    assert not error.fatal
    assert bench.machine.state is state


@pytest.mark.parametrize("state", [State.AWAITING_START, State.STARTING, State.STREAMING, State.STOPPING])
def test_binary_changes_nothing_in_any_state(state: State) -> None:
    bench = in_state(state)
    assert only_error(list(bench.machine.binary(5, bench.now).replies)).code == ErrorCode.BINARY_UNEXPECTED
    assert bench.machine.state is state


@pytest.mark.parametrize(
    ("state", "message", "code"),
    [
        (State.AWAITING_START, SessionStop(), ErrorCode.SESSION_NOT_STARTED),
        (State.AWAITING_START, SessionInteraction(event_id="e", prompt="a"), ErrorCode.SESSION_NOT_STARTED),
        (State.STARTING, START, ErrorCode.SESSION_ALREADY_STARTED),
        (State.STREAMING, START, ErrorCode.SESSION_ALREADY_STARTED),
        (State.STOPPING, START, ErrorCode.SESSION_ALREADY_STARTED),
        (State.STOPPING, SessionStop(), ErrorCode.SESSION_STOPPING),
        (State.STOPPING, SessionInteraction(event_id="e", prompt="a"), ErrorCode.SESSION_STOPPING),
        (State.AWAITING_START, SessionControl(action="pause"), ErrorCode.SESSION_NOT_STARTED),
        (State.STOPPING, SessionControl(action="pause"), ErrorCode.SESSION_STOPPING),
        (State.AWAITING_START, SessionPlayback(position_seconds=0.0), ErrorCode.SESSION_NOT_STARTED),
        (State.WAITING, START, ErrorCode.SESSION_ALREADY_STARTED),
        (State.WAITING, SessionInteraction(event_id="e", prompt="a"), ErrorCode.SESSION_NOT_STARTED),
        (State.WAITING, SessionControl(action="pause"), ErrorCode.SESSION_NOT_STARTED),
        (State.WAITING, SessionPlayback(position_seconds=0.0), ErrorCode.SESSION_NOT_STARTED),
    ],
)
def test_a_message_that_its_state_does_not_take(state: State, message: ClientMessage, code: ErrorCode) -> None:
    bench = in_state(state)
    outcome = bench.machine.text(encode_message(message), bench.now)
    assert only_error(list(outcome.replies)).code == code
    assert outcome.command is None
    assert bench.machine.state is state


def in_state(state: State) -> Bench:
    bench = Bench()
    if state in (State.STREAMING, State.STOPPING):
        bench.say(START)
    if state in (State.STARTING, State.WAITING):
        bench.machine.text(encode_message(START), bench.now)
    if state is State.STOPPING:
        bench.machine.text(encode_message(SessionStop()), bench.now)
    if state is State.WAITING:
        bench.machine.queued(2, 3, now=bench.now)
    assert bench.machine.state is state
    return bench


def test_waiting_is_told_has_no_deadline_of_its_own_and_ends_in_starting() -> None:
    bench = in_state(State.STARTING)
    (reply,) = bench.machine.queued(2, 3, now=bench.now)
    assert reply.message == SessionQueued(position=2, waiting=3)
    assert bench.wait(1e6) == []
    bench.machine.admitted(bench.now)
    assert bench.machine.state is State.STARTING
    assert bench.machine.deadline() == bench.now + CONFIG.answer_timeout
    bench.machine.admitted(bench.now)
    assert in_state(State.STREAMING).machine.queued(1, 1, now=0.0) == ()


def test_to_stop_while_waiting_is_an_end_in_order() -> None:
    (reply,) = in_state(State.WAITING).say(SessionStop())
    assert reply.message == SessionDone(reason="stopped", chunks=0, frames=0, journal={})
    assert reply.close is CloseCode.NORMAL


def test_only_sessions_hear_of_draining() -> None:
    heard = [bool(in_state(state).machine.draining(5.0)) for state in (State.AWAITING_START, State.STREAMING)]
    assert heard == [False, True]


def test_a_loss_that_will_pass_says_when_to_come_back() -> None:
    for code, wait in ((ErrorCode.WORKER_DIED, CONFIG.retry_after), (ErrorCode.IDLE_TIMEOUT, None)):
        (reply,) = in_state(State.STREAMING).machine.fail(code, "no", now=0.0)
        assert isinstance(reply.message, ErrorMessage)
        assert reply.message.retry_after == wait


def test_quality_is_remembered_and_announced() -> None:
    bench = in_state(State.STREAMING)
    applied, media = bench.say(SessionControl(action="quality", quality=30, event_id="q"))
    assert applied.message == SessionControlApplied(action="quality", quality=30, sequence=0, event_id="q")
    assert media.message == MediaInit(format="jpeg", quality=30, width=96, height=96, sequence=0)
    (paused,) = bench.say(SessionControl(action="pause"))
    assert paused.message == SessionControlApplied(action="pause", sequence=0)
    assert bench.work() == []


@pytest.mark.parametrize(
    ("state", "seconds", "code", "close"),
    [
        (State.AWAITING_START, CONFIG.start_timeout, ErrorCode.START_TIMEOUT, CloseCode.POLICY),
        (State.STARTING, CONFIG.answer_timeout, ErrorCode.WORKER_STALLED, CloseCode.RESTART),
        (State.STREAMING, CONFIG.idle_timeout, ErrorCode.IDLE_TIMEOUT, CloseCode.POLICY),
        (State.STOPPING, CONFIG.answer_timeout, ErrorCode.WORKER_STALLED, CloseCode.RESTART),
    ],
)
def test_no_state_lasts_for_ever(state: State, seconds: float, code: ErrorCode, close: CloseCode) -> None:
    bench = in_state(state)
    assert bench.machine.deadline() == bench.now + seconds
    assert bench.wait(seconds - 1) == []
    (reply,) = bench.wait(1)
    assert isinstance(reply.message, ErrorMessage)
    assert (reply.message.code, reply.message.fatal, reply.close) == (code, True, close)
    assert bench.machine.state is State.CLOSED
    assert bench.wait(1e6) == []


def test_bad_messages_do_not_put_off_the_start_timeout() -> None:
    bench = Bench()
    deadline = bench.machine.deadline()
    bench.now += 5
    bench.say("nonsense")
    bench.say(SessionPing())
    assert bench.machine.deadline() == deadline


def test_messages_and_taken_chunks_are_signs_of_life() -> None:
    bench = in_state(State.STREAMING)
    bench.now += 100
    bench.say(SessionPing())
    assert bench.machine.deadline() == bench.now + CONFIG.idle_timeout
    bench.now += 100
    (chunk,) = bench.work()
    assert isinstance(chunk.message, ChunkMetadata)
    bench.machine.took(chunk.message, bench.now)
    assert bench.machine.deadline() == bench.now + CONFIG.idle_timeout


def test_a_start_that_the_engine_refuses_can_be_tried_again_under_another_name() -> None:
    bench = Bench()
    bench.now += CONFIG.start_timeout - 1
    outcome = bench.machine.text(encode_message(START.model_copy(update={"model": "other"})), bench.now)
    early = bench.machine.text(encode_message(SessionInteraction(event_id="e", prompt="a")), bench.now)
    assert early.command is not None
    assert outcome.command is not None
    bench.worker.handle(outcome.command)
    refused, rejected = bench.work()
    assert isinstance(refused.message, ErrorMessage)
    assert (refused.message.code, refused.message.fatal, refused.close) == ("model_unknown", False, None)
    assert isinstance(rejected.message, InteractionRejected)
    assert (rejected.message.event_id, rejected.message.code) == ("e", "session_not_started")
    assert bench.machine.deadline() == bench.now + CONFIG.start_timeout
    bench.say(START)
    assert (bench.machine.state, bench.machine.session) == (State.STREAMING, "s1")


def test_a_refusal_that_another_try_cannot_change_is_the_end() -> None:
    bench = in_state(State.STARTING)
    event = ipc.Failed(session="s0", code="capacity", message="full")
    (reply,) = bench.machine.event(event, bench.now)
    assert isinstance(reply.message, ErrorMessage)
    assert (reply.message.fatal, reply.message.retryable, reply.close) == (True, True, CloseCode.TRY_LATER)


@pytest.mark.parametrize(
    ("code", "close"), [("position_limit", CloseCode.POLICY), ("internal_error", CloseCode.INTERNAL)]
)
def test_a_failure_in_the_middle_is_the_end(code: str, close: CloseCode) -> None:
    bench = in_state(State.STREAMING)
    (reply,) = bench.machine.event(ipc.Failed(session="s0", code=code, message="no"), bench.now)
    assert isinstance(reply.message, ErrorMessage)
    assert (reply.message.code, reply.message.fatal, reply.close) == (code, True, close)


def test_an_event_of_another_session_is_not_heard() -> None:
    bench = in_state(State.STREAMING)
    assert bench.machine.event(ipc.Ended(session="x", reason="stopped", chunks=0, frames=0, journal="{}"), 0.0) == ()
    assert bench.machine.state is State.STREAMING


def test_a_chunk_out_of_order_is_a_fault_and_not_passed_on() -> None:
    bench = in_state(State.STREAMING)
    bench.work()
    (reply,) = bench.machine.event(bench.worker.chunk("s0", 2), bench.now)
    assert isinstance(reply.message, ErrorMessage)
    assert (reply.message.code, reply.close) == (ErrorCode.INTERNAL_ERROR, CloseCode.INTERNAL)


@pytest.mark.parametrize("journal", ["", "[]", "nonsense"])
def test_a_journal_that_is_no_object_is_a_fault(journal: str) -> None:
    bench = in_state(State.STREAMING)
    event = ipc.Ended(session="s0", reason="stopped", chunks=0, frames=0, journal=journal)
    (reply,) = bench.machine.event(event, bench.now)
    assert isinstance(reply.message, ErrorMessage)
    assert reply.message.code == ErrorCode.INTERNAL_ERROR


def test_a_retry_is_answered_without_asking_the_engine() -> None:
    bench = in_state(State.STREAMING)
    message = SessionInteraction(event_id="e", prompt="a storm")
    bench.say(message)
    commands = len(bench.worker.commands)
    (reply,) = bench.say(message)
    assert reply.message == InteractionQueued(event_id="e")
    assert len(bench.worker.commands) == commands
    error = only_error(bench.say(SessionInteraction(event_id="e", prompt="a calm")))
    assert (error.code, error.event_id) == (ErrorCode.EVENT_ID_CONFLICT, "e")


def test_too_many_waiting_interactions_are_refused_and_may_be_sent_again() -> None:
    bench = Bench(CONFIG.model_copy(update={"interaction_queue": 2}))
    bench.machine.text(encode_message(START), bench.now)
    for index in range(2):
        bench.machine.text(encode_message(SessionInteraction(event_id=str(index), prompt="a")), bench.now)
    error = only_error(bench.say(SessionInteraction(event_id="x", prompt="a")))
    assert (error.code, error.retryable, error.event_id) == (ErrorCode.INTERACTIONS_FULL, True, "x")


def test_nothing_is_said_after_the_last_word() -> None:
    bench = in_state(State.STREAMING)
    assert len(bench.machine.fail(ErrorCode.WORKER_DIED, "gone", now=bench.now)) == 1
    assert bench.machine.fail(ErrorCode.WORKER_DIED, "gone", now=bench.now) == ()
    assert bench.work() == []
    assert bench.say(SessionPing()) == []
    assert bench.machine.binary(1, bench.now) == Outcome()
