"""The connection's state machine with inputs in any order: sequences grow by one, one last word, nothing after it."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.api.machine import State
from service.api.reply import Reply
from service.errors import ErrorCode
from service.protocol.client import (
    ClientMessage,
    SessionControl,
    SessionInteraction,
    SessionPing,
    SessionPlayback,
    SessionStart,
    SessionStop,
)
from service.protocol.server import ChunkMetadata, SessionPong
from tests.service.api.test_machine import CONFIG, START, Bench
from tests.service.bad_messages import BAD_MESSAGES, BadMessage


class Anything(RuleBasedStateMachine):
    """Whatever comes in whatever order: sequences grow by one, and there is one last word at most."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(CONFIG.model_copy(update={"interaction_queue": 3, "remembered_events": 4}))
        self.heard: list[Reply] = []
        self.accepted: list[str] = []

    @rule(message=st.sampled_from([START, SessionStop(), SessionPing(), SessionStart(prompt="a", model="other")]))
    def says(self, message: ClientMessage) -> None:
        self.heard += self.bench.say(message)

    @rule(event_id=st.sampled_from("abcdef"), prompt=st.sampled_from(["a", "b", "forbidden"]))
    def prompts(self, event_id: str, prompt: str) -> None:
        self.heard += self.bench.say(SessionInteraction(event_id=event_id, prompt=prompt))

    @rule(bad=st.sampled_from(BAD_MESSAGES))
    def says_something_bad(self, bad: BadMessage) -> None:
        self.heard += self.bench.say(bad.text)

    @rule()
    def sends_binary(self) -> None:
        self.heard += self.bench.machine.binary(1, self.bench.now).replies

    @rule(message=st.sampled_from([SessionControl(action="pause"), SessionControl(action="resume")]))
    def steers(self, message: SessionControl) -> None:
        self.heard += self.bench.say(message)
        self.heard += self.bench.say(SessionPlayback(position_seconds=self.bench.now))

    @rule()
    def reports(self) -> None:
        self.heard += self.bench.machine.report(self.bench.now)

    @rule()
    def works(self) -> None:
        self.heard += self.bench.work()
        for session in self.bench.worker.sessions.values():
            session.credits = 2

    @rule(seconds=st.sampled_from([0.1, 11.0, 29.0]))
    def waits(self, seconds: float) -> None:
        self.heard += self.bench.wait(seconds)

    @precondition(lambda self: len(self.heard) > 20)
    @rule()
    def loses_the_worker(self) -> None:
        self.heard += self.bench.machine.fail(ErrorCode.WORKER_DIED, "gone", now=self.bench.now)

    @invariant()
    def one_last_word(self) -> None:
        ends = [index for index, reply in enumerate(self.heard) if reply.close is not None]
        assert ends in ([], [len(self.heard) - 1])
        assert (self.bench.machine.state is State.CLOSED) == bool(ends)

    @invariant()
    def sequences_grow_by_one(self) -> None:
        chunks = [reply.message for reply in self.heard if isinstance(reply.message, ChunkMetadata)]
        sequences = [chunk.sequence for chunk in chunks]
        assert sequences == list(range(len(sequences)))

    @invariant()
    def pongs_carry_no_payload(self) -> None:
        assert all(reply.payload is None for reply in self.heard if isinstance(reply.message, SessionPong))


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
