"""What `longtake load` does: many sessions on one server at once, each watched and directed, none decoded.

Knows the client and the report; nothing of command lines. Invariants: a session that is refused or fails is counted
and does not end the others; when the time is over every session is stopped, and all connections are closed.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count

from client.catalogue import suggested_prompts
from client.client import Session, connect
from client.connection import ClientOptions
from client.errors import ClientError, ClientStateError, RequestRefused, SessionFailed
from client.http import Server
from client.load_report import LoadReport, Outcome, SessionRecord, build_load_report
from client.report import ChunkArrival
from client.switch import Switch
from service.protocol.client import Pacing, PromptMode


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """One load.

    Args:
        seconds: of clock time, from the first message to the last; a session that still waits for a place then is a
            refusal with the code `queued`.
        switch_every: seconds from one prompt of a session to the next, None for none. The sessions take turns, so
            that their prompts do not come all at once.
        prompts: the first and later prompts, in turn; empty are those that the server suggests.
    """

    sessions: int
    seconds: float
    url: str = "ws://127.0.0.1:8000"
    pacing: Pacing = "realtime"
    switch_every: float | None = None
    mode: PromptMode = "recache"
    model: str = "demo"
    prompts: tuple[str, ...] = ()
    client: ClientOptions = field(default_factory=ClientOptions)


def run(options: LoadOptions) -> LoadReport:
    """Put the load on the server. Raises ConnectFailed, ProtocolViolation where the prompts cannot be had."""
    return asyncio.run(run_load(options))


async def run_load(options: LoadOptions) -> LoadReport:
    """`run` for a program that has an event loop already."""
    if not options.prompts:
        options = replace(options, prompts=await suggested_prompts(Server(options.url, options.client.api_key)))
    until = time.monotonic() + options.seconds
    viewers = [_LoadSession(options, number, until=until) for number in range(options.sessions)]
    return build_load_report(await asyncio.gather(*(viewer.run() for viewer in viewers)))


class _LoadSession:
    """One session of a load."""

    def __init__(self, options: LoadOptions, number: int, *, until: float) -> None:
        self._options = options
        self._number = number
        self._until = until
        self._arrivals: list[ChunkArrival] = []
        self._switches: list[Switch] = []

    async def run(self) -> SessionRecord:
        started = time.monotonic()
        session: Session | None = None
        outcome: Outcome = "completed"
        code: str | None = None
        try:
            async with connect(self._options.url, self._options.client) as session:
                await self._watch(session)
                if session.done is not None and session.done.reason == "drained":
                    outcome, code = "failed", "drained"
        except ClientError as error:
            outcome = "failed" if self._arrivals else "refused"
            code = code_of(error)
        except TimeoutError:
            outcome, code = "refused", "queued"
        record = SessionRecord(started, outcome, code, switches=tuple(switch.report() for switch in self._switches))
        if session is None or not self._arrivals:
            return record
        return replace(
            record,
            started=session.started_at or started,
            fps=session.info.fps,
            arrivals=tuple(self._arrivals),
            missing=session.missing,
            duplicated=session.duplicated,
        )

    async def _watch(self, session: Session) -> None:
        options = self._options
        async with asyncio.timeout(max(0.0, self._until - time.monotonic())):
            await session.start(self._prompt(0), model=options.model, seed=self._number, pacing=options.pacing)
        helpers = [asyncio.create_task(self._stop(session))]
        if options.switch_every is not None:
            helpers.append(asyncio.create_task(self._direct(session, options.switch_every)))
        try:
            async for chunk in session:
                self._arrivals.append(ChunkArrival(chunk.received, chunk.pts, chunk.num_frames, chunk.dropped_frames))
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _stop(self, session: Session) -> None:
        await asyncio.sleep(max(0.0, self._until - time.monotonic()))
        with suppress(ClientError):  # the reader tells it to whoever iterates
            await session.stop()

    async def _direct(self, session: Session, every: float) -> None:
        await asyncio.sleep(every * (1 + self._number / self._options.sessions))
        with suppress(ClientStateError):  # the session ended
            for turn in count(1):
                self._switches.append(await session.prompt(self._prompt(turn), mode=self._options.mode))
                await asyncio.sleep(every)

    def _prompt(self, turn: int) -> str:
        prompts = self._options.prompts
        return prompts[(self._number + turn) % len(prompts)]


def code_of(error: ClientError) -> str:
    """The server's code of an error, or the name of one that has none."""
    return error.code if isinstance(error, RequestRefused | SessionFailed) else type(error).__name__
