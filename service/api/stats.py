"""The figures of one session: what was made, what was sent, how fast, and how far ahead of the viewer.

It knows nothing of sockets; the caller says what happened and when. Invariant: every count is of what the
client's socket took, and only grows; memory does not grow with the session's length.
"""

from collections import deque
from statistics import median

from service import ipc
from service.protocol.server import ChunkMetadata, SessionStats

MEDIAN_OF = 16


class Pulse:
    """How a session is made, the same for all who listen."""

    def __init__(self) -> None:
        self._blocks: deque[float] = deque(maxlen=MEDIAN_OF)
        self._lead = 0.0
        self._lead_at = 0.0
        self.switch_ms: float | None = None
        self.viewers = 0
        self.replay_seconds = 0.0
        self.replay_bytes = 0

    def made(self, chunk: ipc.Chunk, now: float) -> None:
        """The worker sent a chunk."""
        stages = chunk.timings
        self._blocks.append(stages.text + stages.recache + stages.denoise + stages.clean + stages.decode)
        self._lead, self._lead_at = chunk.lead_seconds, now

    def switched(self, milliseconds: float) -> None:
        """A prompt took effect, so long after it came."""
        self.switch_ms = milliseconds

    @property
    def block_ms(self) -> float | None:
        return round(median(self._blocks), 3) if self._blocks else None

    def lead(self, now: float) -> float:
        """Media made and not yet shown, as far as the worker knew at the last chunk."""
        return round(max(self._lead - (now - self._lead_at), 0.0), 3)


class SessionTally:
    """What one listener's socket took."""

    def __init__(self) -> None:
        self._first_sent_at: float | None = None
        self._first_media = 0.0
        self._media = 0.0
        self._reported_at = 0.0
        self._frames_reported = 0
        self._drops_warned = 0
        self.chunks = 0
        self.frames = 0
        self.frames_dropped = 0
        self.bytes_sent = 0

    def sent(self, chunk: ChunkMetadata, now: float) -> None:
        """The client's socket took a chunk, whole or thinned."""
        frames = chunk.num_frames + chunk.dropped_frames
        self._media = chunk.pts + frames / chunk.fps
        if self._first_sent_at is None:
            self._first_sent_at = self._reported_at = now
            self._first_media = self._media
        self.chunks += 1
        self.frames += chunk.num_frames
        self.frames_dropped += chunk.dropped_frames
        self.bytes_sent += chunk.byte_length

    def drops_to_warn_of(self) -> int:
        """Frames dropped since this was last asked."""
        count = self.frames_dropped - self._drops_warned
        self._drops_warned = self.frames_dropped
        return count

    def report(self, now: float, pulse: Pulse) -> SessionStats | None:
        """The figures now; None before the first chunk."""
        if self._first_sent_at is None:
            return None
        at, interval = now - self._first_sent_at, now - self._reported_at
        frames = self.frames - self._frames_reported
        self._reported_at, self._frames_reported = now, self.frames
        return SessionStats(
            at_seconds=round(at, 3),
            fps=round(frames / interval, 3) if interval > 0 else 0.0,
            # The first chunk starts the clock, so its own media is not counted as made in that time.
            realtime_ratio=round((self._media - self._first_media) / at, 3) if at > 0 else 0.0,
            lead_seconds=pulse.lead(now),
            chunks=self.chunks,
            frames=self.frames,
            frames_dropped=self.frames_dropped,
            bytes_sent=self.bytes_sent,
            viewers=pulse.viewers,
            replay_seconds=round(pulse.replay_seconds, 3),
            replay_bytes=pulse.replay_bytes,
            block_ms=pulse.block_ms,
            switch_ms=pulse.switch_ms,
        )
