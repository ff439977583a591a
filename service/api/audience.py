"""Those who listen to one session: its director and its viewers, what they hear, and how they come and go.

It knows connections only as listeners, and nothing of the worker or the store. Invariants: what is said to all is
said once into the replay, from which each reads; whoever directs holds the one resume token that is good; nobody
hears a chunk twice over one connection.
"""

import math
from typing import Protocol

from service.api import translate
from service.api.direction import Direction
from service.api.opening import Opening, not_so_far
from service.api.replay import Feed, Replay
from service.api.reply import Reply
from service.api.services import Services
from service.errors import ErrorCode, ProtocolError
from service.ipc import Started
from service.protocol.client import SessionDirect, SessionJoin, SessionResume, SlowConsumer
from service.protocol.server import MissingChunks, Role, SessionDirection, SessionResumed, VideoDiscard


class Listener(Protocol):
    """A connection. None of its methods may wait or raise."""

    @property
    def slow_consumer(self) -> SlowConsumer: ...

    def tell(self, *replies: Reply) -> None:
        """Something for this connection alone."""

    def began(self, role: Role, feed: Feed, *replies: Reply) -> None:
        """It listens from now on; these come first."""

    def takes_role(self, role: Role) -> None: ...

    def replaced(self) -> None:
        """Another connection has its place."""

    def refused(self, *replies: Reply) -> None:
        """What it asked for cannot be had; it may ask for something else."""

    def ends(self, last: Reply) -> None:
        """The last word, where nothing was begun."""

    def queued(self, position: int, waiting: int) -> None:
        """It waits for a place."""

    def admitted(self) -> None: ...

    def draining(self, deadline_seconds: float) -> None: ...

    def wake(self) -> None:
        """There is something more to read."""


class Audience:
    """`started` is what is known of the video once the engine has begun it."""

    def __init__(self, opening: Opening, services: Services, *, replay: Replay) -> None:
        message = opening.message
        self.session = opening.session
        self._opening = opening
        self.direction: Direction[Listener] = Direction(shared=message.shared_direction)
        self.replay = replay
        self.media = translate.Media(message.format, message.quality)
        self.next_sequence = opening.next_sequence
        self._started: Started | None = None
        self._config = services.config
        self._tokens = services.tokens
        self._clock = services.clock

    @property
    def started(self) -> Started | None:
        return self._started

    @started.setter
    def started(self, event: Started) -> None:
        self._started = event
        self.media = self.media.of_video(event)

    @property
    def fps(self) -> float:
        return self.started.fps if self.started else math.inf

    @property
    def director(self) -> Listener | None:
        return self.direction.director

    def say(self, *replies: Reply) -> None:
        """To all, in this order."""
        now = self._clock()
        for reply in replies:
            self.replay.say(reply, now)
        self.wake()

    def wake(self) -> None:
        for listener in self.direction.everybody():
            listener.wake()

    # Coming

    def begin(self, listener: Listener) -> None:
        """The director hears everything from here on."""
        self.direction.lead(listener)
        start, media = self._introduction("director")
        listener.began("director", self._feed(listener, self.replay.head), start, media, *self._continuation(start))

    def _continuation(self, start: Reply) -> tuple[Reply, ...]:
        """What is said of a session that goes on here: it does, and what of it comes again."""
        first = self._opening.made_again
        if self._opening.record is None:
            return ()
        token, following = getattr(start.message, "resume_token", None), self.next_sequence
        resumed = SessionResumed(
            session_id=self.session, cause="connection", next_sequence=following, resume_token=token
        )
        unheard = tuple(map(Reply, self._opening.unheard))
        if first is None:
            return (Reply(resumed), *unheard)
        discard = VideoDiscard(from_sequence=first, next_sequence=following, reason="resume")
        return (Reply(resumed), Reply(discard), *unheard)

    def join(self, listener: Listener, message: SessionJoin) -> None:
        """A viewer hears what comes from the next chunk on. Raises ProtocolError."""
        if self.started is None:
            raise _not_there()
        if message.format not in (None, self.media.format):
            raise ProtocolError(
                ErrorCode.FORMAT_MISMATCH,
                f"The session's frames are {self.media.format}.",
                field="format",
                expected=f'"{self.media.format}", or no format',
            )
        self.direction.watch(listener)
        listener.began("viewer", self._feed(listener, self.replay.head), *self._introduction("viewer"))
        if self.direction.offered:
            listener.tell(Reply(SessionDirection(role="viewer", offered=True)))

    def check_resume(self, message: SessionResume) -> None:
        """Raises ProtocolError where the session has not come to that chunk."""
        last = message.last_sequence
        if last is not None and last >= self.next_sequence:
            raise not_so_far(last, self.next_sequence)

    def resume(self, listener: Listener, message: SessionResume) -> None:
        """A connection goes on where another was lost; that one is let go, if it is still there."""
        before = self.direction.lead(listener)
        if before is not None:
            before.replaced()
        replay, last = self.replay, message.last_sequence
        place = replay.floor if last is None else replay.after(last)
        first = replay.first_chunk_from(place)
        next_sequence = self.next_sequence if first is None else first
        missing = None
        if last is not None and not replay.reaches(last):
            missing = MissingChunks(from_sequence=last + 1, to_sequence=next_sequence - 1)
        start, media = self._introduction("director", next_sequence)
        token = getattr(start.message, "resume_token", None)
        resumed = SessionResumed(
            session_id=self.session,
            cause="connection",
            next_sequence=next_sequence,
            resume_token=token,
            missing=missing,
        )
        listener.began("director", self._feed(listener, place), start, media, Reply(resumed))

    def _introduction(self, role: Role, next_sequence: int | None = None) -> tuple[Reply, Reply]:
        assert self.started is not None, "expected a session that has begun"
        place = translate.ListenerPlace(
            role=role,
            next_sequence=self.next_sequence if next_sequence is None else next_sequence,
            shared=self.direction.shared,
            resume_token=self.issue_token() if role == "director" else None,
        )
        limits = translate.session_limits(self._config)
        start = translate.video_start(self.started, self.media.format, limits=limits, place=place)
        return Reply(start), Reply(self.media.message(place.next_sequence))

    def _feed(self, listener: Listener, place: int) -> Feed:
        return Feed(self.replay, place, policy=listener.slow_consumer)

    def issue_token(self) -> str:
        """The token of whoever directs; the one before is void."""
        return self._tokens.issue(self.session, until=math.inf)

    # Handing over

    def direct(self, listener: Listener, message: SessionDirect) -> None:
        """Direction is offered, taken or given up. Raises ProtocolError."""
        direction = self.direction
        before: Listener | None = None
        match message.action:
            case "offer":
                direction.offer(listener)
            case "release":
                direction.release(listener)
                self._tokens.revoke(self.session)
                listener.takes_role("viewer")
            case "take":
                before = direction.take(listener)
                listener.takes_role("director")
        if before is not None:
            before.takes_role("viewer")
        for other in direction.everybody():
            role: Role = "director" if other is direction.director else "viewer"
            took = message.action == "take" and other is listener
            token = self.issue_token() if took else None
            other.tell(Reply(SessionDirection(role=role, offered=direction.offered, resume_token=token)))


def _not_there() -> ProtocolError:
    return ProtocolError(
        ErrorCode.SESSION_NOT_STARTED,
        "The session has not begun.",
        field="session_id",
        expected="a session that has a video",
    )
