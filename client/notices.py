"""What the server says beside the video: where one waits, how it goes, what was not as asked.

Knows message types; nothing of sockets or chunks. Invariants: the newest notices are kept, up to a stated number;
statistics are not among them, as they come every second: only the last ones are kept.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from service.protocol.server import (
    DiscardReason,
    ErrorMessage,
    MediaInit,
    SessionDirection,
    SessionDraining,
    SessionQueued,
    SessionResumed,
    SessionStats,
    SessionWarning,
    WorkerRestarting,
)


@dataclass(frozen=True, slots=True)
class ChunksDiscarded:
    """The server took chunks back. `dropped` were not handed out and will not be; `taken` were handed out before.

    `reason`: a new prompt or a pause took back what nobody had seen, or a rewind what is made anew.
    """

    from_sequence: int
    dropped: tuple[int, ...]
    taken: tuple[int, ...]
    reason: DiscardReason = "prompt"


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection was lost; the client tries to get it back. `error` says how it ended."""

    error: str


ServerNotice = (
    ErrorMessage
    | SessionWarning
    | SessionQueued
    | SessionDraining
    | SessionStats
    | SessionResumed
    | SessionDirection
    | WorkerRestarting
    | MediaInit
)
Notice = ServerNotice | ChunksDiscarded | Disconnected
NoticeHandler = Callable[[Notice], None]


class Notices:
    """The notices of one session.

    Args:
        most: how many are kept.
        handler: is called with each, statistics too, in the order in which they come; it should be quick, as
            nothing is read from the socket meanwhile.
    """

    def __init__(self, most: int, handler: NoticeHandler | None = None) -> None:
        self.kept: deque[Notice] = deque(maxlen=most)
        self.queued: SessionQueued | None = None
        self.stats: SessionStats | None = None
        self.draining: SessionDraining | None = None
        self.media: MediaInit | None = None
        self.discards = 0
        self.reconnects = 0
        self.worker_restarts = 0
        self._handler = handler

    def add(self, notice: Notice) -> None:
        match notice:
            case SessionStats():
                self.stats = notice
            case SessionQueued():
                self.queued = notice
            case SessionDraining():
                self.draining = notice
            case MediaInit():
                self.media = notice
            case ChunksDiscarded():
                self.discards += 1
            case SessionResumed(cause="connection"):
                self.reconnects += 1
            case WorkerRestarting():
                self.worker_restarts += 1
        if not isinstance(notice, SessionStats):
            self.kept.append(notice)
        if self._handler is not None:
            self._handler(notice)

    def admitted(self) -> None:
        """The session has its place; it waits no more."""
        self.queued = None
