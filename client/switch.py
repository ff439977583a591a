"""One prompt change, from sending it to the first frames made under it on screen.

Knows the stages a change goes through and when each was seen; nothing of sockets. Invariant: a Switch ends in exactly
one way (received, refused, superseded, or the session's end), and its times, once filled in, never change.
"""

import asyncio
from dataclasses import dataclass, field

from client.errors import ClientError, ClientStateError, PromptSuperseded, RequestRefused, WaitTimeout
from client.report import SwitchReport, milliseconds
from service.protocol.client import SessionInteraction
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    InteractionApplied,
    InteractionQueued,
    InteractionRejected,
    InteractionSuperseded,
)

InteractionMessage = InteractionQueued | InteractionApplied | InteractionSuperseded | InteractionRejected


@dataclass(slots=True, eq=False)
class Switch:
    """A prompt change as the client sees it. Times are time.monotonic() seconds.

    `queued_at`: the server said it was accepted. `applied_at`: the server said in which chunk it shows.
    `received_at`: the last byte of that chunk was here. `sequence`: that chunk's number. `shown_at`: the playhead of a
    paced session came to it (the plain player's of client.viewer, or the program's own); None without pacing.
    """

    event_id: str
    prompt: str
    sent_at: float
    queued_at: float | None = None
    applied_at: float | None = None
    received_at: float | None = None
    shown_at: float | None = None
    sequence: int | None = None
    error: ClientError | None = None
    _accepted: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _settled: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    async def wait_queued(self, timeout: float = 30.0) -> None:
        """Wait until the server has accepted it.

        The session's chunks must be taken meanwhile (by another task), or what comes after them cannot be read.

        Raises:
            RequestRefused: it was refused. SessionEnded, SessionFailed, ConnectionLost: the session is over.
            WaitTimeout: none of this within `timeout` seconds.
        """
        await self._wait(self._accepted, "to be queued", timeout)
        if self.queued_at is None and self.error is not None:
            raise self.error

    async def wait_received(self, timeout: float = 60.0) -> int:
        """Wait for the first chunk made under it; its sequence number. Raises what `wait_queued` does."""
        await self._wait(self._settled, "to be received", timeout)
        if self.error is not None:
            raise self.error
        assert self.sequence is not None, "a switch that settled without an error has its chunk"
        return self.sequence

    def mark_queued(self, now: float) -> None:
        if self.queued_at is None:
            self.queued_at = now
        self._accepted.set()

    def mark_applied(self, sequence: int, now: float) -> None:
        if self.applied_at is None:
            self.applied_at = now
        if self.sequence is None:
            self.sequence = sequence

    def mark_received(self, sequence: int, now: float) -> None:
        if not self._settled.is_set():
            self.sequence, self.received_at = sequence, now
            self._accepted.set()
            self._settled.set()

    def mark_shown(self, now: float) -> None:
        if self.shown_at is None:
            self.shown_at = now

    def mark_failed(self, error: ClientError) -> None:
        """It will not be received, for the reason that `error` names; nothing happens if it was."""
        if not self._settled.is_set():
            self.error = error
            self._accepted.set()
            self._settled.set()

    @property
    def is_over(self) -> bool:
        """Nothing more will be heard of it."""
        return self.error is not None or (self.received_at is not None and self.applied_at is not None)

    def report(self) -> SwitchReport:
        """Its times as milliseconds since it was sent."""
        return SwitchReport(
            prompt=self.prompt,
            queued_ms=milliseconds(self.sent_at, self.queued_at),
            applied_ms=milliseconds(self.sent_at, self.applied_at),
            received_ms=milliseconds(self.sent_at, self.received_at),
            chunk=self.sequence,
            shown_ms=milliseconds(self.sent_at, self.shown_at),
        )

    async def _wait(self, event: asyncio.Event, what: str, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError as error:
            raise WaitTimeout(f"expected prompt {self.event_id!r} {what} within {timeout:g} s") from error


class PendingSwitches:
    """The prompt changes of one session whose fate is not yet known, by event id; at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: dict[str, Switch] = {}
        self._asked: dict[str, SessionInteraction] = {}

    def add(self, switch: Switch, message: SessionInteraction) -> Switch:
        """Follow a change from now on; the one that is followed already if it is a retry."""
        known = self._pending.get(switch.event_id)
        if known is not None:
            return known
        if len(self._pending) >= self._limit:
            raise ClientStateError(f"expected at most {self._limit} prompts without an answer")
        self._pending[switch.event_id] = switch
        self._asked[switch.event_id] = message
        return switch

    def unanswered(self) -> tuple[SessionInteraction, ...]:
        """What the server has said nothing of, in the order in which it was asked."""
        return tuple(
            self._asked[name]
            for name, switch in self._pending.items()
            if switch.queued_at is None and switch.applied_at is None and not switch.is_over
        )

    def on_message(self, message: InteractionMessage, now: float) -> None:
        """Note what the server says about a change; nothing if it is not one of ours."""
        switch = self._pending.get(message.event_id)
        if switch is None:
            return
        match message:
            case InteractionQueued():
                switch.mark_queued(now)
            case InteractionApplied():
                switch.mark_applied(message.sequence, now)
            case InteractionSuperseded():
                switch.mark_failed(PromptSuperseded(message.by))
            case InteractionRejected():
                switch.mark_failed(RequestRefused.from_message(message))
        self._forget(switch)

    def on_error(self, message: ErrorMessage) -> bool:
        """Note a refusal; True if it was about one of our changes."""
        switch = self._pending.get(message.event_id or "")
        if switch is None:
            return False
        switch.mark_failed(RequestRefused.from_message(message))
        self._forget(switch)
        return True

    def on_chunk(self, metadata: ChunkMetadata, now: float) -> list[Switch]:
        """Note which changes have their first chunk here, and return them."""
        received = []
        for event_id in (*metadata.started_event_ids, *metadata.event_ids):
            switch = self._pending.get(event_id)
            if switch is not None and switch.received_at is None:
                switch.mark_received(metadata.sequence, now)
                received.append(switch)
                self._forget(switch)
        return received

    def end(self, reason: ClientError) -> None:
        """The session is over: what was not received will not be."""
        for switch in self._pending.values():
            switch.mark_failed(reason)
        self._pending.clear()
        self._asked.clear()

    def _forget(self, switch: Switch) -> None:
        if switch.is_over:
            del self._pending[switch.event_id]
            del self._asked[switch.event_id]
