"""The connection's state machine with inputs in any order: one last word, nothing after it, and requests only where a
session is or was asked for.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.api.machine import Outcome, State
from service.api.reply import Reply
from service.api.stats import Pulse
from service.errors import ErrorCode
from service.protocol import ClientMessage
from service.protocol.client import SessionPing, SessionStop
from service.protocol.server import Role, SessionPong
from tests.service.api.test_machine import CHUNK, JOIN, RESUME, START, STEERING, Bench
from tests.service.bad_messages import BAD_MESSAGES, BadMessage

BEGINNINGS = (START, RESUME, JOIN)


class Anything(RuleBasedStateMachine):
    """Whatever comes in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.heard: list[Reply] = []

    def hear(self, outcome: Outcome, *, before: State) -> None:
        self.heard += outcome.replies
        if outcome.request is not None:
            wanted = State.AWAITING_START if outcome.request in BEGINNINGS else before
            assert before is wanted
            assert outcome.request in BEGINNINGS or before in (State.STARTING, State.STREAMING)

    @rule(message=st.sampled_from([*BEGINNINGS, *STEERING, SessionStop(), SessionPing()]))
    def says(self, message: ClientMessage) -> None:
        before = self.bench.machine.state
        self.hear(self.bench.say(message), before=before)

    @rule(bad=st.sampled_from(BAD_MESSAGES))
    def says_something_bad(self, bad: BadMessage) -> None:
        self.heard += self.bench.say(bad.text).replies

    @rule()
    def sends_binary(self) -> None:
        self.heard += self.bench.machine.binary(1, self.bench.now).replies

    @rule()
    def waits_for_a_place(self) -> None:
        self.heard += self.bench.machine.queued(1, 1, now=self.bench.now)

    @rule(role=st.sampled_from(["director", "viewer"]))
    def is_there(self, role: Role) -> None:
        self.bench.machine.admitted(self.bench.now)
        self.bench.machine.began(role, now=self.bench.now)

    @rule()
    def is_refused(self) -> None:
        self.bench.machine.refused(self.bench.now)

    @precondition(lambda self: self.bench.machine.state in (State.STREAMING, State.STOPPING))
    @rule()
    def takes_a_chunk(self) -> None:
        self.bench.machine.took(CHUNK, self.bench.now)

    @rule()
    def reports(self) -> None:
        self.heard += self.bench.machine.report(self.bench.now, Pulse())
        self.heard += self.bench.machine.draining(1.0)

    @rule(seconds=st.sampled_from([0.1, 11.0, 29.0]))
    def waits(self, seconds: float) -> None:
        self.heard += self.bench.wait(seconds)

    @precondition(lambda self: len(self.heard) > 20)
    @rule()
    def fails(self) -> None:
        self.heard += self.bench.machine.fail(ErrorCode.WORKER_DIED, "gone", now=self.bench.now)

    @invariant()
    def one_last_word(self) -> None:
        ends = [index for index, reply in enumerate(self.heard) if reply.close is not None]
        assert ends in ([], [len(self.heard) - 1])
        assert (self.bench.machine.state is State.CLOSED) == bool(ends)

    @invariant()
    def pongs_carry_no_payload(self) -> None:
        assert all(reply.payload is None for reply in self.heard if isinstance(reply.message, SessionPong))


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
