"""What the worker says of one session: stored first where it counts, and then said to all.

It knows the store, the audience and the session's course; nothing of connections, places or time. Invariants: a chunk
is stored, with the engine's events that came with it, before it is said, unless the store takes nothing and all were
told so; a number that does not follow the one before is a fault, and not passed on; an interaction is said to have
ended once.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from service import ipc
from service.api import translate
from service.api.audience import Audience
from service.api.interactions import Interactions
from service.api.keeping import Keeping
from service.api.metrics import SessionMeter
from service.api.opening import Opening, again
from service.api.orders import Orders
from service.api.reply import Reply
from service.api.services import Services
from service.api.stats import Pulse
from service.api.track import Track
from service.chunk_rows import row_of
from service.errors import CloseCode, ErrorCode, SessionError, facts_of
from service.protocol.server import InteractionRejected, SessionDone, VideoDiscard
from service.store.records import NUMERICS_CHANGED, SessionRecord


@dataclass(slots=True, kw_only=True)
class Hearing:
    """One session's. `take` is the one that a rewind began and that has no chunk yet."""

    opening: Opening
    services: Services
    audience: Audience
    orders: Orders
    meter: SessionMeter
    interactions: Interactions
    track: Track
    keeping: Keeping
    pulse: Pulse = field(default_factory=Pulse)
    take: int | None = None
    fingerprint: str = ""
    opened: bool = False
    """The store has a record of it."""
    frames: int = 0
    applied: list[ipc.Applied] = field(default_factory=list)
    """What takes effect with the next chunk: it counts, and is said, once that is stored."""

    async def begin(self, event: ipc.Started) -> None:
        """A worker has the session: for the first time, or again."""
        store, session = self.services.store, self.opening.session
        facts = self.services.worker.facts_of(session)
        # A worker that is lost already has no facts: what it was is not known, and it makes nothing more.
        fingerprint = facts.fingerprint if facts else self.fingerprint
        media = self.audience.media
        self.audience.started = event
        self.applied.clear()
        if not self.opened:
            await store.open_session(self._record(event, fingerprint))
            self.opened = True
            self.interactions.unwritten[:0] = self.opening.notes
        elif fingerprint != self.fingerprint:
            await self.keeping.note(json.dumps({"type": NUMERICS_CHANGED, "fingerprint": fingerprint}))
            self.audience.say(Reply(translate.numerics_warning(self.fingerprint, fingerprint)))
        while self.interactions.unwritten:
            await self.keeping.note(self.interactions.unwritten.pop(0))
        if self.fingerprint and self.audience.media != media:
            self.audience.say(Reply(self.audience.media.message(self.audience.next_sequence)))
        self.fingerprint = fingerprint

    async def start_again(self, first: ipc.Start) -> Callable[[int], ipc.Start]:
        """What another worker is told, with so many credits. `first`: what the first one was. Raises SessionError."""
        audience, course = self.audience, None
        if audience.next_sequence:
            stored = await self.services.store.course(self.opening.session)
            course = translate.course_of(stored, self.track.event_ids)
        seed = audience.started.seed if audience.started else first.seed

        def start(credits: int) -> ipc.Start:
            renewed = again(first, seed=seed, course=course, take=self.take)
            return translate.restart_command(renewed, credits=credits, quality=audience.media.quality)

        return start

    def _record(self, event: ipc.Started, fingerprint: str) -> SessionRecord:
        return SessionRecord(
            id=event.session,
            model=event.model,
            width=event.width,
            height=event.height,
            fps=event.fps,
            seed=event.seed,
            fingerprint=fingerprint,
            options=self.opening.message.model_dump_json(exclude_none=True),
            created_at=time.time(),
            family=event.session,
            tenant=self.opening.principal.tenant,
        )

    async def hear(self, event: ipc.SessionEvent) -> Reply | None:
        """Anything else. The session's last word, if this is its end. Raises SessionError."""
        self.meter.event(event, self.services.clock())
        match event:
            case ipc.Chunk():
                await self._chunk(event)
                self._charge(event)
            case ipc.Stored():
                await self.keeping.ledger.stored(event.sequence)
            case ipc.Discarded():
                await self._discarded(event)
            case ipc.Rewound():
                await self._rewound(event)
            case ipc.Applied():
                self.applied.append(event)
            case ipc.Queued() | ipc.Superseded() | ipc.Rejected():
                await self._interaction(event)
            case ipc.ControlApplied():
                self._control(event)
            case ipc.Warned():
                self.audience.say(Reply(translate.warning_message(event)))
            case ipc.Ended():
                return Reply(_done(event), close=CloseCode.NORMAL)
            case ipc.Failed():
                return self.failure(event)
        return None

    def failure(self, event: ipc.Failed) -> Reply:
        """The engine cannot go on."""
        close = facts_of(event.code).close or CloseCode.POLICY
        wait = translate.retry_after(close, self.services.config)
        return Reply(translate.failure_message(event, fatal=True, retry_after=wait), close=close)

    def last_word(self, code: ErrorCode, message: str) -> Reply:
        """The end for a reason of the service's own."""
        close = facts_of(code).close or CloseCode.INTERNAL
        wait = translate.retry_after(close, self.services.config)
        return Reply(translate.fatal_message(code, message, retry_after=wait), close=close)

    def refusals(self, event: ipc.Failed) -> tuple[Reply, ...]:
        """The engine did not begin, and may be asked for something else: so end the prompts that were given early."""
        rejected = (
            InteractionRejected(
                event_id=event_id, code=ErrorCode.SESSION_NOT_STARTED, message="The session could not be started."
            )
            for event_id in self.interactions.end()
        )
        return (Reply(translate.failure_message(event, fatal=False)), *map(Reply, rejected))

    # One by one

    async def _chunk(self, event: ipc.Chunk) -> None:
        audience, row = self.audience, row_of(event)
        if audience.started is None or event.sequence != audience.next_sequence:
            message = f"The engine sent chunk {event.sequence} where {audience.next_sequence} was due."
            raise SessionError(ErrorCode.INTERNAL_ERROR, message)
        if row.block > len(self.track):
            message = f"The engine sent block {row.block} where {len(self.track)} was due."
            raise SessionError(ErrorCode.INTERNAL_ERROR, message)
        chunk = Reply(translate.chunk_metadata(event), payload=event.payload)
        applied = (*self._applied_again(event), *self.applied)
        ended = tuple(map(translate.prompt_end, applied))
        append, events = self.services.store.append_chunk, event.events
        await self.keeping.ledger.write(
            lambda: append(event.session, row, events=events, ended=ended),
            sequence=row.sequence,
            latents=event.stored,
        )
        audience.next_sequence += 1
        self.track.append(row, event.event_ids)
        self.frames += row.frames
        if event.take == self.take:
            self.take = None
        self.pulse.made(event, self.services.clock())
        self.applied.clear()
        for one in applied:
            self.orders.answered(one)
            self._ended(one)
        audience.say(chunk)

    def _charge(self, event: ipc.Chunk) -> None:
        """Raises SessionError where the key's seconds of today are used up."""
        key, quotas = self.opening.principal.key_id, self.services.quotas
        quotas.charge(key, translate.engine_seconds(event.timings))
        if quotas.used_up(key):
            raise SessionError(ErrorCode.QUOTA_EXCEEDED, "The key has used its seconds of the engine for today.")

    def _applied_again(self, chunk: ipc.Chunk) -> Iterator[ipc.Applied]:
        """Prompts of blocks that were made again: whoever asked for them had not heard that they took effect."""
        for event_id in self.interactions.applied_again(chunk.event_ids):
            yield ipc.Applied(
                session=chunk.session,
                event_id=event_id,
                sequence=chunk.sequence,
                block=chunk.block,
                queued_ms=0.0,
                latency_ms=0.0,
            )

    async def stopped_alone(self) -> Reply | None:
        """The session's last word where no worker is there to say it: the store knows the journal."""
        course = await self.services.store.course(self.opening.session)
        ended = ipc.Ended(
            session=self.opening.session,
            reason="stopped",
            chunks=self.audience.next_sequence - self.opening.next_sequence,
            frames=self.frames,
            journal=course.journal,
        )
        return await self.hear(ended)

    def full_pulse(self) -> Pulse:
        """How the session is made, now."""
        pulse, replay = self.pulse, self.audience.replay
        pulse.viewers = self.audience.direction.viewers
        pulse.replay_seconds, pulse.replay_bytes = replay.media_seconds, replay.bytes
        return pulse

    async def _discarded(self, event: ipc.Discarded) -> None:
        following = self.audience.next_sequence
        await self._take_back(event.block, from_sequence=min(event.from_sequence, following), reason=event.reason)
        if event.from_sequence < following:
            self.audience.replay.discard(event.from_sequence)
            self.audience.say(
                Reply(VideoDiscard(from_sequence=event.from_sequence, next_sequence=following, reason=event.reason))
            )

    async def _rewound(self, event: ipc.Rewound) -> None:
        self.orders.answered(event)
        self.take = event.take
        await self._take_back(event.block, from_sequence=self.audience.next_sequence, reason="rewind")
        self.audience.say(Reply(translate.rewound_message(event)))

    async def _take_back(self, block: int, *, from_sequence: int, reason: str) -> None:
        session, take_back = self.opening.session, self.services.store.take_back
        await self.keeping.ledger.write(lambda: take_back(session, block, from_sequence=from_sequence, reason=reason))
        self.track.cut(block)

    async def _interaction(self, event: ipc.Queued | ipc.Superseded | ipc.Rejected) -> None:
        if isinstance(event, ipc.Queued):
            if self.orders.first_queued(event):
                self.audience.say(Reply(translate.interaction_message(event)))
            return
        answered = self.orders.answered(event)
        if isinstance(answered, ipc.Rewind) and isinstance(event, ipc.Rejected):
            self.audience.say(Reply(translate.rewind_refusal(event)))
            return
        ended, end_prompt = translate.prompt_end(event), self.services.store.end_prompt
        await self.keeping.ledger.write(lambda: end_prompt(event.session, ended))
        self._ended(event)

    def _ended(self, event: ipc.Applied | ipc.Superseded | ipc.Rejected) -> None:
        """What the store knows is said."""
        self.interactions.finish(event.event_id)
        if isinstance(event, ipc.Applied) and event.latency_ms:
            self.pulse.switched(event.latency_ms)
        self.audience.say(Reply(translate.interaction_message(event)))

    def _control(self, event: ipc.ControlApplied) -> None:
        if self.orders.answered(event) is None:
            return  # a new worker was told again what had been answered before
        self.audience.say(Reply(translate.control_message(event)))
        if event.quality is not None:
            self.audience.media = self.audience.media.of_quality(event.quality)
            self.audience.say(Reply(self.audience.media.message(event.sequence)))


def _done(event: ipc.Ended) -> SessionDone:
    try:
        return translate.done_message(event)
    except ValueError as error:
        raise SessionError(ErrorCode.INTERNAL_ERROR, "The engine's journal is not a JSON object.") from error
