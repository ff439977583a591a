"""The viewer of a session: where the playhead is, when a prompt is seen, and what is reported of it.

A plain player that shows each chunk from when the program takes it, unless the program has a player of its own and
says where that one is. Knows chunks and switches; nothing of sockets, and reads no clock. Invariant: a switch is
shown at most once, and only by a chunk that was taken and not taken back before its moment.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from client.chunk import Chunk
from client.playhead import Playhead
from client.switch import Switch
from service.protocol.client import SessionPlayback

_REMEMBERED = 256  # taken chunks that a discard can name; no server holds more before the viewer


@dataclass(frozen=True, slots=True)
class _Due:
    """A switch that is shown when the playhead comes to `pts`, with chunk `sequence`."""

    switch: Switch
    sequence: int
    pts: float


@dataclass(frozen=True, slots=True)
class _Taken:
    sequence: int
    pts: float


class Viewer:
    """Tell it what is received, taken, taken back, and what the program's own player says.

    Args:
        shows: there is a picture; without pacing nothing is shown, and only what was taken is known.
    """

    def __init__(self, fps: float, *, shows: bool) -> None:
        self.shows = shows
        self._playhead = Playhead(fps)
        self._received_end = 0.0
        self._waiting: dict[str, Switch] = {}
        self._due: list[_Due] = []
        self._taken: deque[_Taken] = deque(maxlen=_REMEMBERED)
        self._reported: float | None = None  # by the program's own player

    @property
    def has_own_player(self) -> bool:
        """The program reports its position itself."""
        return self._reported is not None

    def received(self, chunk: Chunk, switches: Iterable[Switch]) -> None:
        """A chunk is here, the first of these switches; the program may take it later."""
        self._received_end = chunk.end_pts
        if self.shows:
            self._waiting.update({switch.event_id: switch for switch in switches})

    def taken(self, chunk: Chunk, now: float) -> None:
        """The program has it: it is shown when its time comes."""
        self.advance(now)
        self._playhead.arrive(now, pts=chunk.pts, frames=chunk.num_frames + chunk.dropped_frames)
        self._taken.append(_Taken(chunk.sequence, chunk.pts))
        for event_id in (*chunk.metadata.started_event_ids, *chunk.metadata.event_ids):
            switch = self._waiting.pop(event_id, None)
            if switch is not None:
                self._due.append(_Due(switch, chunk.sequence, chunk.pts))
        self.advance(now)

    def take_back(self, from_sequence: int, *, dropped: tuple[Chunk, ...], now: float) -> tuple[int, ...]:
        """Chunks from this number on count no more. Returns the numbers of those that were taken."""
        self.advance(now)
        gone = [taken for taken in self._taken if taken.sequence >= from_sequence]
        self._taken = deque((taken for taken in self._taken if taken.sequence < from_sequence), _REMEMBERED)
        # A change whose first chunk is gone shows with the next chunk that is made under it.
        self._waiting.update({due.switch.event_id: due.switch for due in self._due if due.sequence >= from_sequence})
        self._due = [due for due in self._due if due.sequence < from_sequence]
        if gone:
            self._playhead.take_back(gone[0].pts)
        ends = [taken.pts for taken in gone] + [chunk.pts for chunk in dropped]
        self._received_end = min([self._received_end, *ends])
        return tuple(taken.sequence for taken in gone)

    def report(self, position: float, now: float) -> None:
        """The program's own player is at this media second; from now on only that counts."""
        self._reported = position
        self.advance(now)

    def position(self, now: float) -> float:
        """Media seconds on screen."""
        return self._playhead.position(now) if self._reported is None else self._reported

    def advance(self, now: float) -> None:
        """Note what came on screen until now."""
        later = []
        for due in self._due:
            shown_at = self._shown_at(due.pts, now)
            if shown_at is None:
                later.append(due)
            else:
                due.switch.mark_shown(shown_at)
        self._due = later

    def end(self, now: float) -> None:
        """The session is over, so nothing is taken back any more: a plain player shows the rest in its time."""
        self.advance(now)
        if self._reported is None:
            for due in self._due:
                due.switch.mark_shown(now + (self._playhead.seconds_until(due.pts, now) or 0.0))
            self._due = []

    def message(self, now: float) -> SessionPlayback:
        """The report for the server."""
        self.advance(now)
        position = self.position(now)
        buffered = max(0.0, self._received_end - position)
        return SessionPlayback(position_seconds=round(position, 4), buffered_seconds=round(buffered, 4))

    def _shown_at(self, pts: float, now: float) -> float | None:
        if self._reported is not None:
            return now if self._reported >= pts else None
        wait = self._playhead.seconds_until(pts, now)
        return now - self._playhead.seconds_since(pts, now) if wait == 0 else None
