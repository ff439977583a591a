"""What the server says beside the video: where one waits, how it goes, what was not as asked.

Knows message types; nothing of sockets or chunks. Invariants: the newest notices are kept, up to a stated number;
statistics are not among them, as they come every second: only the last ones are kept.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from service.protocol.server import (
    ErrorMessage,
    MediaInit,
    SessionDraining,
    SessionQueued,
    SessionStats,
    SessionWarning,
)


@dataclass(frozen=True, slots=True)
class ChunksDiscarded:
    """The server took chunks back. `dropped` were not handed out and will not be; `taken` were handed out before."""

    from_sequence: int
    dropped: tuple[int, ...]
    taken: tuple[int, ...]


ServerNotice = ErrorMessage | SessionWarning | SessionQueued | SessionDraining | SessionStats | MediaInit
Notice = ServerNotice | ChunksDiscarded
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
        if not isinstance(notice, SessionStats):
            self.kept.append(notice)
        if self._handler is not None:
            self._handler(notice)

    def admitted(self) -> None:
        """The session has its place; it waits no more."""
        self.queued = None
