"""The Python client: one WebSocket, one session, chunks to iterate over and prompts to send while they come.

    async with connect("ws://127.0.0.1:8000") as session:
        await session.start("a lighthouse at dusk", seed=7, max_seconds=60)
        async for chunk in session:
            frames = chunk.numpy()                                  # uint8 [N, height, width, 3]
            if chunk.sequence == 5:
                switch = await session.prompt("a harbour at night", mode="recache")

Knows the wire (service.protocol); nothing of torch, web frameworks or the server's insides. Invariants: every wait
has a time-out and every queue a bound (ClientOptions); a session ends in exactly one way, which iteration tells: it
stops after `session.done` and raises in every other case.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from client.answers import Answer, Answers
from client.comeback import ResumeTicket, resume_message
from client.connection import ClientOptions, Connection
from client.errors import ClientStateError, ConnectionLost, SessionEnded
from client.http import Server
from client.link import Link
from client.notices import NoticeHandler
from client.pictures import send_picture
from client.receiving import Receiving, SessionState
from client.requests import (
    Adapter,
    Delivery,
    Media,
    Model,
    Place,
    Prompt,
    PromptChange,
    checkpoint_message,
    control_message,
    fork_message,
    interaction_message,
    join_message,
    playback_message,
    prompt_text,
    rewind_message,
    start_message,
)
from client.switch import Switch
from service.protocol import ClientMessage
from service.protocol.client import (
    DirectAction,
    Pacing,
    PromptMode,
    SessionControl,
    SessionDirect,
    SessionInteraction,
    SessionJoin,
    SessionPing,
    SessionResume,
    SessionStart,
    SessionStop,
    SinkPolicy,
    SlowConsumer,
)
from service.protocol.server import (
    SessionCheckpointed,
    SessionControlApplied,
    SessionDone,
    SessionForked,
    VideoStart,
)

T = TypeVar("T")
_DONE, _GOING_AWAY = 1000, 1001


@asynccontextmanager
async def connect(
    url: str, options: ClientOptions | None = None, *, on_notice: NoticeHandler | None = None
) -> AsyncIterator["Session"]:
    """Connect to a server: `ws://host:port`, `http://host:port`, with or without a path prefix or the endpoint.

    `on_notice` is called with what the server says beside the video (client.notices), when it comes.

    Raises:
        ConnectFailed: there is no such server, or it refused the connection.
    """
    options = options or ClientOptions()
    link = Link(url, await Connection.open(url, options), options=options)
    session = Session(link, options, on_notice=on_notice)
    try:
        yield session
    finally:
        await session.close()


class Session(Receiving):
    """One session on one connection; `connect` makes it. Iterate over it for its chunks, from one task."""

    async def start(
        self,
        prompt: Prompt,
        *,
        model: str | Model = "demo",
        seed: int | None = None,
        media: Media | None = None,
        pacing: Pacing = "realtime",
        max_seconds: float | None = None,
        delivery: Delivery | None = None,
    ) -> VideoStart:
        """Start the video; once per session, again only if it was refused. Waits where there is no place yet.

        Raises:
            RequestRefused, SessionFailed: the server did not start it. WaitTimeout, ConnectionLost: nor said why.
            ClientStateError: it was started. service.errors.ProtocolError: a value that no server would accept.
        """
        self._expect(SessionState.CONNECTED, "start")
        message = start_message(
            prompt,
            model=model,
            seed=seed,
            media=media or Media(),
            pacing=pacing,
            max_seconds=max_seconds,
            delivery=delivery,
        )
        if media is not None and media.picture is not None:
            picture_id = await send_picture(self._server, media.picture)
            message = message.model_copy(update={"picture_id": picture_id})
        return await self._begin(message, paced=pacing == "realtime")

    async def attach(
        self, ticket: ResumeTicket, *, paced: bool = True, slow_consumer: SlowConsumer = "pause"
    ) -> VideoStart:
        """Go on with a session that another program began, that has ended, or that is a fork; instead of `start`.

        `paced`: the program shows what comes as a player would, and says where it is. Raises what `start` does.
        """
        self._expect(SessionState.CONNECTED, "attach")
        self._link.comeback.begin(ticket)
        if ticket.last_sequence is not None:
            self._receiver.begin_after(ticket.last_sequence)
        return await self._begin(resume_message(ticket, slow_consumer), paced=paced)

    async def join(self, session_id: str, *, slow_consumer: SlowConsumer = "drop") -> VideoStart:
        """Watch a session that somebody else directs; instead of `start`. Raises what `start` does."""
        self._expect(SessionState.CONNECTED, "join")
        return await self._begin(join_message(session_id, slow_consumer=slow_consumer), paced=True)

    async def _begin(self, message: SessionStart | SessionResume | SessionJoin, *, paced: bool) -> VideoStart:
        self.state = SessionState.STARTING
        self.paced = paced
        self._link.comeback.slow_consumer = message.slow_consumer
        self._starting = Answer()
        self.started_at = time.monotonic()
        await self._send(message)
        return await self._starting.wait(self._options.start_timeout, "video.start")

    async def prompt(
        self,
        prompt: Prompt,
        *,
        mode: PromptMode = "recache",
        sink: SinkPolicy = "keep",
        transition_chunks: int = 0,
        at: float | None = None,
        adapters: Sequence[Adapter] | None = None,
        event_id: str | None = None,
    ) -> Switch:
        """Change the prompt: at the next block, or at the first one that begins at media second `at` or later.

        Returns as soon as it is sent; the Switch fills in as the server answers and the chunks come. The same
        `event_id` with the same content is a retry. `adapters` changes the whole set with it. Raises what `start`
        does, but for refusals: those are the Switch's to tell.
        """
        change = PromptChange(
            prompt, mode=mode, sink=sink, transition_chunks=transition_chunks, at=at, adapters=adapters
        )
        return await self.interact(interaction_message(change, event_id or self._name("prompt")))

    async def interact(self, message: SessionInteraction) -> Switch:
        """`prompt`, for a message that is made already."""
        self._expect(SessionState.RUNNING, "prompt")
        name = prompt_text(message.prompt or message.weighted_prompts)
        switch = self._switches.add(Switch(message.event_id, name, time.monotonic()), message)
        await self._send(message)
        return switch

    async def pause(self) -> SessionControlApplied:
        """Halt: no block is made after the one in the making. Returns what the server answers.

        Raises:
            RequestRefused, WaitTimeout, ClientStateError, and what ended the session if it is over.
        """
        return await self._control(control_message("pause", event_id=self._name("control")))

    async def resume(self) -> SessionControlApplied:
        """Go on from where it was halted. Raises what `pause` does."""
        return await self._control(control_message("resume", event_id=self._name("control")))

    async def rewind(self, place: Place) -> SessionControlApplied:
        """Go back to a place and make the video anew from there. Raises what `pause` does."""
        return await self._control(rewind_message(place, event_id=self._name("control")))

    async def seek_live(self) -> SessionControlApplied:
        """Pass over what waits for this client, and go on with what is made next. Raises what `pause` does."""
        return await self._control(control_message("seek_live", event_id=self._name("control")))

    async def fork(self, place: Place | None = None) -> SessionForked:
        """A new session with the history of this one before a place, which goes on. Raises what `pause` does.

        `attach` to it with `fork_ticket` of the answer, over another connection.
        """
        self._expect(SessionState.RUNNING, "fork")
        message = fork_message(place or Place(), event_id=self._name("fork"))
        return await self._ask(self._forks, message.event_id or "", message)

    async def checkpoint(self, name: str) -> SessionCheckpointed:
        """Write a name for this place into the session's record: `rewind` and `fork` find it by its chunk."""
        self._expect(SessionState.RUNNING, "checkpoint")
        message = checkpoint_message(name, event_id=self._name("checkpoint"))
        return await self._ask(self._checkpoints, message.event_id or "", message)

    async def direct(self, action: DirectAction) -> None:
        """Offer direction to the viewers, take it, or give it up; `role` and the notices say what came of it."""
        self._expect(SessionState.RUNNING, "direct")
        await self._send(SessionDirect(action=action))

    async def set_quality(self, quality: int) -> SessionControlApplied:
        """Encode with this quality, from the chunk on that the answer names. Raises what `pause` does."""
        return await self._control(control_message("quality", quality, event_id=self._name("control")))

    async def report_playback(
        self, position_seconds: float, *, buffered_seconds: float | None = None, dropped: int | None = None
    ) -> None:
        """Say where the program's own player is, a few times a second; the reports of this client end with the first.

        `dropped`: frames that the player has left out. Prompts count as shown by these reports too.
        """
        self._expect(SessionState.RUNNING, "report_playback")
        message = playback_message(position_seconds, buffered_seconds=buffered_seconds, dropped=dropped)
        if self._viewer is not None:
            self._viewer.report(position_seconds, time.monotonic())
        await self._send(message)

    async def ping(self) -> float:
        """Seconds to the server and back."""
        name, sent = self._name("ping"), time.monotonic()
        return await self._ask(self._pongs, name, SessionPing(id=name)) - sent

    async def stop(self) -> None:
        """Ask the server to end the video; iteration then ends after the last chunk. Harmless once it has ended."""
        if self.state in (SessionState.STOPPING, SessionState.ENDED):
            return
        self._expect(SessionState.RUNNING, "stop")
        self.state = SessionState.STOPPING
        await self._send(SessionStop())

    async def finish(self) -> SessionDone:
        """Stop, throw away the chunks that are still coming, and return how the session ended."""
        await self.stop()
        async for _ in self:
            pass
        if self.done is None:
            raise SessionEnded("expected session.done, but the session was closed before it")
        return self.done

    async def leave(self) -> ResumeTicket | None:
        """Close the connection and let the session live: who has the ticket may `attach` to it for a while."""
        ticket = self.ticket
        await self.close(_GOING_AWAY)
        return ticket

    async def close(self, code: int = _DONE) -> None:
        """Close the connection, whatever the state; leaving `async with connect(...)` does it. The session ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._link.close(code)
        self._end(SessionEnded("the session was closed"))
        self._buffer.clear()

    # Sending and waiting

    @property
    def _server(self) -> Server:
        """The same server over HTTP."""
        return Server(self._link.url, self._options.api_key, self._options.start_timeout)

    def _name(self, kind: str) -> str:
        self._asked += 1
        return f"{kind}-{self._asked}"

    async def _control(self, message: SessionControl) -> SessionControlApplied:
        self._expect(SessionState.RUNNING, message.action)
        return await self._ask(self._controls, message.event_id or "", message)

    async def _ask(self, answers: Answers[T], name: str, message: ClientMessage) -> T:
        answer = answers.expect(name)
        try:
            with self._buffer.without_bound():
                await self._send(message)
                return await answer.wait(self._options.message_timeout, f"an answer to {message.type}")
        finally:
            answers.forget(name)

    def _expect(self, state: SessionState, call: str) -> None:
        if self._failure is not None:
            raise self._failure
        if self.state is not state:
            raise ClientStateError(f"{call}: expected a session that is {state.value}, it is {self.state.value}")

    async def _send(self, message: ClientMessage) -> None:
        try:
            await self._link.send(message)
        except ConnectionLost:
            # The reader comes to the same end, and may read on its way why.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.close_timeout):
                    await self._over.wait()
            if self._failure is not None:
                raise self._failure from None
            raise
