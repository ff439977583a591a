"""What a take measured: the one JSON document that `longtake stream` and `longtake generate` both end with.

Pure functions from arrival times to figures, and the dataclasses that hold them. Knows nothing of sockets, engines
or files. Invariant: the keys of the JSON document are exactly the fields of StreamReport and SwitchReport, and a
figure that was not measured is null, never 0.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from client.playhead import Playhead


@dataclass(frozen=True, slots=True)
class ChunkArrival:
    """A chunk as the receiver saw it: clock seconds of its last byte, media seconds of its first frame.

    `dropped` frames were left out on the way; they are not among `frames`, but their time is the chunk's.
    """

    received: float
    pts: float
    frames: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SwitchReport:
    """One prompt change; milliseconds since it was sent, `chunk` is the sequence number of its first chunk.

    `shown_ms` is when a player that began with the first chunk has it on screen; null where nothing is paced.
    """

    prompt: str
    queued_ms: float | None = None
    applied_ms: float | None = None
    received_ms: float | None = None
    chunk: int | None = None
    shown_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What was not as it should be, or was taken back; chunks, and how often."""

    missing: int = 0
    duplicated: int = 0
    discarded: int = 0
    reconnects: int = 0
    worker_restarts: int = 0


@dataclass(frozen=True, slots=True)
class StreamReport:
    """A take in figures.

    `seconds` is the length of the video; `fps` is how fast it was delivered (frames per second of clock time,
    counted from the first chunk on, so that `first_frame_ms` is not in it). `missing`, `duplicated` and `discarded`
    (taken back by the server) count chunks.
    """

    frames: int
    seconds: float
    fps: float
    first_frame_ms: float | None
    chunks: int
    missing: int
    duplicated: int
    underruns: int
    switches: tuple[SwitchReport, ...] = ()
    discarded: int = 0
    reconnects: int = 0
    worker_restarts: int = 0

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def count_underruns(arrivals: Iterable[ChunkArrival], fps: float) -> int:
    """Chunks that came after they were due, in a playback that starts with the first chunk and waits for late ones."""
    playhead = Playhead(fps)
    return sum(
        playhead.arrive(chunk.received, pts=chunk.pts, frames=chunk.frames + chunk.dropped) for chunk in arrivals
    )


def delivery_rate(arrivals: Sequence[ChunkArrival], started: float) -> float:
    """Frames per second of clock time after the first chunk; of a single chunk, since `started`."""
    if not arrivals:
        return 0.0
    later = sum(chunk.frames for chunk in arrivals[1:])
    frames, since = (later, arrivals[0].received) if later else (arrivals[0].frames, started)
    elapsed = arrivals[-1].received - since
    return frames / elapsed if elapsed > 0 else 0.0


def milliseconds(since: float | None, until: float | None) -> float | None:
    """From clock seconds to milliseconds with one decimal; None where either end was not seen."""
    return None if since is None or until is None else round((until - since) * 1000.0, 1)


def build_report(
    arrivals: Sequence[ChunkArrival],
    *,
    fps: float,
    started: float,
    losses: Losses | None = None,
    switches: Iterable[SwitchReport] = (),
) -> StreamReport:
    """The report of a take that was asked for at clock second `started` and plays at `fps` frames a second."""
    losses = losses or Losses()
    frames = sum(chunk.frames for chunk in arrivals)
    return StreamReport(
        frames=frames,
        seconds=round(frames / fps, 3),
        fps=round(delivery_rate(arrivals, started), 2),
        first_frame_ms=milliseconds(started, arrivals[0].received) if arrivals else None,
        chunks=len(arrivals),
        missing=losses.missing,
        duplicated=losses.duplicated,
        underruns=count_underruns(arrivals, fps),
        switches=tuple(switches),
        discarded=losses.discarded,
        reconnects=losses.reconnects,
        worker_restarts=losses.worker_restarts,
    )
