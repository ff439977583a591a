"""Messages in any order over real sockets: `python -m tests.bench.protocol --messages 100000`.

A hypothesis state machine talks to the real app with the fake worker behind it. Invariants it holds: every answer
is one that is documented, and comes within `HANG` seconds; numbers of chunks grow by one; a session has one last
word and nothing after it; afterwards no place is taken. The last line is one JSON document.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from websockets.exceptions import ConnectionClosed

from service.errors import REGISTRY, CloseCode, ErrorCode
from service.protocol.client import (
    ClientMessage,
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
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    InteractionQueued,
    InteractionRejected,
    ServerMessage,
    SessionDone,
    SessionPong,
    SessionQueued,
    UnknownMessage,
    VideoStart,
)
from tests.bench.error_codes import ENGINE_CODES, all_codes
from tests.service.api.running import FAST, Running, Talk, running
from tests.service.bad_messages import BAD_MESSAGES, BadMessage
from tests.service.fakes import REFUSED_WORD

HANG = 60.0
"""Seconds that nothing may take, however busy the machine is; the longest exchange is in the figures."""
CLIENTS = 3
CONFIG = FAST.model_copy(
    update={"max_sessions": 1, "waiting_room": 1, "stats_interval": 0.01, "heartbeat_timeout": 120.0}
)
# The loop of the service runs only during an exchange: what lies between two of them is no silence of the worker's.

indices = st.integers(0, CLIENTS - 1)
starts = st.builds(
    SessionStart,
    prompt=st.sampled_from(["a", "b" * 300, *(f"{REFUSED_WORD} {code}" for code in ENGINE_CODES)]),
    model=st.sampled_from(["demo", "demo", "demo", "other"]),
    slow_consumer=st.sampled_from(["pause", "drop", "disconnect"]),
    max_seconds=st.sampled_from([None, 0.5, 30.0]),
    pacing=st.just("none"),
)
prompts = st.builds(
    SessionInteraction,
    event_id=st.sampled_from("abcdef"),
    prompt=st.sampled_from(["a storm", "a calm", *(f"{REFUSED_WORD} {code}" for code in ENGINE_CODES)]),
    transition_chunks=st.integers(0, 64),
)
controls = st.builds(SessionControl, action=st.sampled_from(["pause", "resume"])) | st.builds(
    SessionControl, action=st.just("quality"), quality=st.integers(1, 100)
)
placed = st.builds(
    SessionControl, action=st.just("rewind"), sequence=st.integers(0, 40), same_noise=st.booleans()
) | st.builds(SessionControl, action=st.just("rewind"), seconds=st.floats(0, 30))
handing = (
    st.builds(SessionDirect, action=st.sampled_from(["offer", "take", "release"]))
    | st.builds(SessionCheckpoint, name=st.just("here"))
    | st.builds(SessionFork, sequence=st.integers(0, 10))
    | st.just(SessionControl(action="seek_live"))
)
playbacks = st.builds(SessionPlayback, position_seconds=st.floats(0, 1e9))


class Client:
    """One connection, what it has heard, and whether its last word has come."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.sequence = 0
        self.ended = False

    async def exchange(self, message: ClientMessage | str | bytes, mark: str) -> list[ServerMessage]:
        """Everything that comes up to the answer of a ping sent after the message, or up to the close."""
        heard: list[ServerMessage] = []
        with contextlib.suppress(ConnectionClosed):  # what came before the close is still to be heard
            await self.talk.say(message)
            await self.talk.say(SessionPing(id=mark))
        try:
            async with asyncio.timeout(HANG):
                while SessionPong(id=mark) not in heard[-1:]:
                    heard.append(self._checked((await self.talk.hear()).message))
        except ConnectionClosed:
            await self._check_close()
        return heard

    def _checked(self, message: ServerMessage | UnknownMessage) -> ServerMessage:
        assert not isinstance(message, UnknownMessage), f"not documented: {message}"
        assert not self.ended, f"after the last word: {message}"
        if isinstance(message, VideoStart):
            self.sequence = message.next_sequence
        if isinstance(message, ChunkMetadata):
            assert message.sequence == self.sequence
            self.sequence += 1
        if isinstance(message, ErrorMessage):
            facts = REGISTRY[ErrorCode(message.code)]
            assert message.retryable is facts.retryable
            assert message.code != ErrorCode.INTERNAL_ERROR
            self.ended = message.fatal
        if isinstance(message, SessionDone):
            self.ended = True
        return message

    async def _check_close(self) -> None:
        assert self.ended, "closed without a last word"
        assert await self.talk.closed() in (CloseCode.NORMAL, CloseCode.POLICY, CloseCode.TRY_LATER)


class Wire(RuleBasedStateMachine):
    """Three clients, one place, one turn. `tally` counts what was said and heard over all runs."""

    tally: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.service: Running = self.runner.run(self._open())
        self.clients: dict[int, Client] = {}
        self.marks = 0

    async def _open(self) -> Running:
        self.stack = AsyncExitStack()
        return await self.stack.enter_async_context(running(CONFIG, frame_bytes=4))

    def talk(self, index: int, message: ClientMessage | str | bytes) -> list[ServerMessage]:
        self.marks += 1
        heard = self.runner.run(self._talk(index, message))
        self.tally["messages"] += 2
        self.tally.update(f"code {item.code}" for item in heard if isinstance(item, ErrorMessage | InteractionRejected))
        self.tally.update(item.type for item in heard)
        return heard

    async def _talk(self, index: int, message: ClientMessage | str | bytes) -> list[ServerMessage]:
        began = time.monotonic()
        client = self.clients.get(index)
        if client is None:
            talk = await self.stack.enter_async_context(self.service.connection())
            client = self.clients[index] = Client(talk)
        heard = await client.exchange(message, str(self.marks))
        self.tally["longest_ms"] = max(self.tally["longest_ms"], round(1000 * (time.monotonic() - began)))
        if client.ended:
            del self.clients[index]
        return heard

    @rule(index=indices, bad=st.sampled_from(BAD_MESSAGES))
    def says_something_bad(self, index: int, bad: BadMessage) -> None:
        codes = [item.code for item in self.talk(index, bad.text) if isinstance(item, ErrorMessage)]
        assert bad.code in codes or index not in self.clients  # the engine's answer to an earlier message may come too

    @rule(index=indices, payload=st.binary(max_size=16))
    def sends_bytes(self, index: int, payload: bytes) -> None:
        codes = [item.code for item in self.talk(index, payload) if isinstance(item, ErrorMessage)]
        assert ErrorCode.BINARY_UNEXPECTED in codes or index not in self.clients

    @rule(index=indices, text=st.text(max_size=40))
    def says_anything(self, index: int, text: str) -> None:
        errors = [item for item in self.talk(index, text) if isinstance(item, ErrorMessage)]
        assert errors or index not in self.clients

    @rule(index=indices, start=starts)
    def starts_a_session(self, index: int, start: SessionStart) -> None:
        heard = self.talk(index, start)
        assert any(isinstance(item, VideoStart | SessionQueued | ErrorMessage | SessionDone) for item in heard) or (
            index in self.clients
        )

    @rule(index=indices)
    def starts_and_prompts(self, index: int) -> None:
        """What usually happens, so that most runs have a session to disturb."""
        self.talk(index, SessionStart(prompt="a lighthouse", pacing="none"))
        for number in range(4):
            if index in self.clients:
                self.talk(index, SessionInteraction(event_id=f"{self.marks} {number}", prompt="a storm"))

    @rule(index=indices, prompt=prompts)
    def prompts_it(self, index: int, prompt: SessionInteraction) -> None:
        heard = self.talk(index, prompt)
        kinds = (InteractionQueued, InteractionRejected, ErrorMessage)
        # The worker's word may come after the pong; the next exchange hears it.
        self.tally["answered at once"] += any(isinstance(item, kinds) for item in heard)

    @rule(index=indices, known=st.booleans(), join=st.booleans())
    def comes_to_another(self, index: int, known: bool, join: bool) -> None:
        """Joins a session, or tries a token that is none."""
        names = list(self.service.worker.worker.sessions) if known else []
        session = names[0] if names else "none"
        message = SessionJoin(session_id=session) if join else SessionResume(session_id=session, resume_token="x")
        if index not in self.clients or not self.clients[index].sequence:
            self.talk(index, message)

    @rule(index=indices, message=controls | playbacks | placed | handing)
    def steers(self, index: int, message: SessionControl | SessionPlayback) -> None:
        self.talk(index, message)

    @rule(index=indices)
    def stops(self, index: int) -> None:
        self.talk(index, SessionStop())

    @rule(index=indices, politely=st.booleans())
    def leaves(self, index: int, politely: bool) -> None:
        client = self.clients.pop(index, None)
        if client is None:
            return
        if politely:
            self.runner.run(client.talk.socket.close())
        else:
            client.talk.socket.transport.abort()

    def teardown(self) -> None:
        try:
            self.runner.run(self._end())
        finally:
            self.runner.close()

    async def _end(self) -> None:
        for client in self.clients.values():
            client.talk.socket.transport.abort()
        worker = self.service.client
        async with asyncio.timeout(HANG):
            while worker.sessions or worker.waiting or len(self.service.state.connections):
                await asyncio.sleep(0.002)
        assert self.service.worker.worker.sessions == {}
        await self.stack.aclose()


def run(messages: int, *, steps: int = 100) -> Counter[str]:
    """At least so many messages, in runs of `steps` exchanges of two messages each. Returns the tally."""
    tally: Counter[str] = Counter()
    machine = type("Wire", (Wire,), {"tally": tally})
    once = settings(
        max_examples=max(1, min(50, messages // (2 * steps))),
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    while tally["messages"] < messages:
        run_state_machine_as_test(machine, settings=once)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    messages: int = parser.parse_args().messages
    began = time.monotonic()
    tally = run(messages)
    codes = {name.removeprefix("code ") for name in tally if name.startswith("code ")}
    reached = codes | asyncio.run(all_codes())
    document = {
        "messages": tally["messages"],
        "seconds": round(time.monotonic() - began, 1),
        "codes_reached": len(reached),
        "codes_missing": sorted(set(ErrorCode) - reached),
        "heard": dict(sorted(tally.items())),
    }
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
