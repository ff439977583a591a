"""Where a viewer is in the video, worked out from when its chunks were there to be shown.

The rules are those of a plain player: the picture starts when the first chunk is there, goes on by the time stamps,
holds when the next chunk is late, and goes on from there when it comes (no fast-forward). Knows nothing of sockets
or pictures, and reads no clock: every call is given the time. Invariant: the position never passes the end of what
has arrived, and goes back only when what it showed is taken back.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Playhead:
    """A player's clock. Times are clock seconds, positions are media seconds."""

    fps: float
    received_end: float = 0.0
    underruns: int = 0
    _anchor_time: float | None = None
    _anchor_position: float = 0.0

    def arrive(self, now: float, *, pts: float, frames: int) -> bool:
        """Take in a chunk whose first frame has time stamp `pts`; True if it came after it was due (an underrun).

        `frames` are those that it lasts, also where some of them were dropped on the way.
        """
        late = False
        if self._anchor_time is None:
            self._anchor_time, self._anchor_position = now, pts
        elif pts < self.received_end - 0.5 / self.fps:
            # The video goes on from an earlier moment, as after a rewind: what was to come is not shown.
            self._anchor_time, self._anchor_position, self.received_end = now, pts, pts
        elif now > self._anchor_time + (pts - self._anchor_position):
            late = True
            self.underruns += 1
            self._anchor_time, self._anchor_position = now, pts
        self.received_end = max(self.received_end, pts + frames / self.fps)
        return late

    def take_back(self, end: float) -> None:
        """What begins at media second `end` or later will not be shown, or should not have been."""
        self.received_end = min(self.received_end, end)

    def position(self, now: float) -> float:
        """Media seconds shown at `now`; 0 before the first chunk."""
        if self._anchor_time is None:
            return 0.0
        return min(self.received_end, self._anchor_position + max(0.0, now - self._anchor_time))

    def seconds_since(self, position: float, now: float) -> float:
        """Clock seconds since `position` was shown; 0 if it was not."""
        if self._anchor_time is None:
            return 0.0
        return max(0.0, now - self._anchor_time - (position - self._anchor_position))

    def seconds_until(self, position: float, now: float) -> float | None:
        """Clock seconds until `position` is shown, 0 if it was; None while the video for it has not arrived."""
        if self._anchor_time is None or position > self.received_end:
            return None
        return max(0.0, self._anchor_time + (position - self._anchor_position) - now)
