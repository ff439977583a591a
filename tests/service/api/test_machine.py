"""The connection's state machine, without sockets: every input in every state, and one last word always."""

import pytest

from service.api.machine import Machine, Outcome, State
from service.api.reply import Reply
from service.api.stats import Pulse
from service.config import ServiceConfig
from service.errors import CloseCode, ErrorCode, ProtocolError
from service.protocol import ClientMessage, encode_message
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
)
from service.protocol.server import ChunkMetadata, ErrorMessage, SessionDone, SessionPong, SessionQueued
from tests.service.bad_messages import BAD_MESSAGES, BadMessage

CONFIG = ServiceConfig(message_rate=1e6, message_burst=10**6)
START = SessionStart(prompt="a lighthouse", seed=1)
RESUME = SessionResume(session_id="s", resume_token="t", slow_consumer="disconnect")
JOIN = SessionJoin(session_id="s")
STEERING: tuple[ClientMessage, ...] = (
    SessionInteraction(event_id="e", prompt="a"),
    SessionControl(action="pause"),
    SessionFork(),
    SessionCheckpoint(name="here"),
    SessionDirect(action="offer"),
    SessionPlayback(position_seconds=0.0),
)
CHUNK = ChunkMetadata(
    sequence=0,
    take=0,
    block=0,
    attempt=0,
    pts=0.0,
    fps=16.0,
    num_frames=12,
    format="jpeg",
    byte_length=0,
    frames=(),
    frames_sha256="",
)


class Bench:
    """A machine and a clock."""

    def __init__(self, config: ServiceConfig = CONFIG) -> None:
        self.now = 100.0
        self.machine = Machine(config, now=self.now)

    def say(self, message: ClientMessage | str) -> Outcome:
        return self.machine.text(message if isinstance(message, str) else encode_message(message), self.now)

    def wait(self, seconds: float) -> list[Reply]:
        self.now += seconds
        return list(self.machine.overdue(self.now))


def only_error(replies: tuple[Reply, ...] | list[Reply]) -> ErrorMessage:
    assert len(replies) == 1
    message = replies[0].message
    assert isinstance(message, ErrorMessage)
    return message


def stands(bench: Bench, state: State) -> None:
    assert bench.machine.state is state


def in_state(state: State) -> Bench:
    bench = Bench()
    if state is State.AWAITING_START:
        return bench
    bench.say(START)
    if state is State.WAITING:
        bench.machine.queued(2, 3, now=bench.now)
    if state in (State.STREAMING, State.STOPPING):
        bench.machine.began("director", now=bench.now)
    if state is State.STOPPING:
        bench.say(SessionStop())
    if state is State.CLOSED:
        bench.machine.ended(bench.now)
    assert bench.machine.state is state
    return bench


@pytest.mark.parametrize("message", [START, RESUME, JOIN], ids=lambda message: message.type)
def test_each_first_message_asks_for_a_session_and_says_how_slow_its_client_may_be(message: ClientMessage) -> None:
    bench = Bench()
    assert bench.say(message) == Outcome(request=message)
    stands(bench, State.STARTING)
    assert bench.machine.slow_consumer == getattr(message, "slow_consumer", "")
    bench.machine.began("director", now=bench.now)
    stands(bench, State.STREAMING)


@pytest.mark.parametrize("message", STEERING, ids=lambda message: message.type)
@pytest.mark.parametrize("state", [State.STARTING, State.STREAMING])
def test_what_steers_is_passed_on_once_a_session_was_asked_for(state: State, message: ClientMessage) -> None:
    assert in_state(state).say(message) == Outcome(request=message)


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: bad.name)
@pytest.mark.parametrize("state", [State.AWAITING_START, State.WAITING, State.STREAMING, State.STOPPING])
def test_a_bad_message_changes_nothing_in_any_state(state: State, bad: BadMessage) -> None:
    bench = in_state(state)
    outcome = bench.say(bad.text)
    assert (only_error(outcome.replies).fatal, outcome.request) == (False, None)
    assert bench.machine.state is state


@pytest.mark.parametrize("state", [State.AWAITING_START, State.STARTING, State.STREAMING, State.STOPPING])
def test_binary_changes_nothing_in_any_state(state: State) -> None:
    bench = in_state(state)
    assert only_error(bench.machine.binary(5, bench.now).replies).code == ErrorCode.BINARY_UNEXPECTED
    assert bench.machine.state is state


@pytest.mark.parametrize(
    ("state", "messages", "code"),
    [
        (State.AWAITING_START, (*STEERING, SessionStop()), ErrorCode.SESSION_NOT_STARTED),
        (State.WAITING, STEERING, ErrorCode.SESSION_NOT_STARTED),
        (State.WAITING, (START, RESUME, JOIN), ErrorCode.SESSION_ALREADY_STARTED),
        (State.STARTING, (START, RESUME, JOIN), ErrorCode.SESSION_ALREADY_STARTED),
        (State.STREAMING, (START, RESUME, JOIN), ErrorCode.SESSION_ALREADY_STARTED),
        (State.STOPPING, (START, RESUME, JOIN), ErrorCode.SESSION_ALREADY_STARTED),
        (State.STOPPING, (*STEERING, SessionStop()), ErrorCode.SESSION_STOPPING),
    ],
)
def test_a_message_that_its_state_does_not_take(
    state: State, messages: tuple[ClientMessage, ...], code: ErrorCode
) -> None:
    for message in messages:
        bench = in_state(state)
        outcome = bench.say(message)
        error = only_error(outcome.replies)
        assert (error.code, error.event_id, outcome.request) == (code, getattr(message, "event_id", None), None)
        assert bench.machine.state is state


def test_a_video_longer_than_the_server_allows_is_not_asked_for() -> None:
    bench = Bench()
    outcome = bench.say(START.model_copy(update={"max_seconds": CONFIG.max_seconds + 1}))
    assert (only_error(outcome.replies).code, outcome.request) == (ErrorCode.LENGTH_LIMIT, None)
    assert bench.machine.state is State.AWAITING_START


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
    (reply,) = in_state(State.WAITING).say(SessionStop()).replies
    assert reply.message == SessionDone(reason="stopped", chunks=0, frames=0, journal={})
    assert reply.close is CloseCode.NORMAL


def test_to_stop_asks_for_the_end_if_one_directs_and_leaves_if_one_watches() -> None:
    director, viewer = in_state(State.STREAMING), in_state(State.STREAMING)
    assert director.say(SessionStop()) == Outcome(request=SessionStop())
    assert director.machine.state is State.STOPPING
    viewer.machine.role = "viewer"
    viewer.machine.took(CHUNK, viewer.now)
    (left,) = viewer.say(SessionStop()).replies
    assert left == Reply(SessionDone(reason="left", chunks=1, frames=12, journal={}), close=CloseCode.NORMAL)
    assert viewer.machine.state is State.CLOSED


def test_only_sessions_hear_of_draining() -> None:
    heard = [bool(in_state(state).machine.draining(5.0)) for state in (State.AWAITING_START, State.STREAMING)]
    assert heard == [False, True]


def test_figures_are_for_those_who_have_a_chunk() -> None:
    bench = in_state(State.STREAMING)
    assert bench.machine.report(bench.now, Pulse()) == ()
    bench.machine.took(CHUNK.model_copy(update={"num_frames": 0, "dropped_frames": 12}), bench.now)
    assert [reply.message.type for reply in bench.machine.report(bench.now, Pulse())] == [
        "session.warning",
        "session.stats",
    ]


def test_a_loss_that_will_pass_says_when_to_come_back() -> None:
    for code, wait in ((ErrorCode.WORKER_DIED, CONFIG.retry_after), (ErrorCode.IDLE_TIMEOUT, None)):
        (reply,) = in_state(State.STREAMING).machine.fail(code, "no", now=0.0)
        assert isinstance(reply.message, ErrorMessage)
        assert reply.message.retry_after == wait


def test_what_is_refused_leaves_a_beginning_open_and_a_session_as_it_is() -> None:
    error = ProtocolError(ErrorCode.NOT_DIRECTOR, "no")
    starting, streaming, closed = (in_state(state) for state in (State.STARTING, State.STREAMING, State.CLOSED))
    for bench in (starting, streaming, closed):
        bench.machine.refused(bench.now)
    states = [bench.machine.state for bench in (starting, streaming, closed)]
    assert states == [State.AWAITING_START, State.STREAMING, State.CLOSED]
    assert starting.machine.deadline() == starting.now + CONFIG.start_timeout
    assert only_error(streaming.machine.refusal(error)).code == ErrorCode.NOT_DIRECTOR
    assert closed.machine.refusal(error) == ()


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
    bench.machine.took(CHUNK, bench.now)
    assert bench.machine.deadline() == bench.now + CONFIG.idle_timeout


def test_a_ping_is_answered_in_every_state_but_the_last() -> None:
    for state in State:
        replies = in_state(state).say(SessionPing(id="7")).replies
        assert replies == (() if state is State.CLOSED else (Reply(SessionPong(id="7")),))


def test_nothing_is_said_after_the_last_word() -> None:
    bench = in_state(State.STREAMING)
    assert len(bench.machine.fail(ErrorCode.WORKER_DIED, "gone", now=bench.now)) == 1
    assert bench.machine.fail(ErrorCode.WORKER_DIED, "gone", now=bench.now) == ()
    assert bench.say(START) == Outcome()
    assert bench.machine.binary(1, bench.now) == Outcome()
    assert bench.machine.draining(1.0) == bench.machine.queued(1, 1, now=bench.now) == ()
