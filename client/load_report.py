"""From what many sessions recorded to one report on a server under load.

Pure functions and the values they take and give; knows nothing of sockets or clocks. Invariants: a figure that was
not measured is null, never 0; every session is counted once, as completed, refused or failed.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal

from client.report import ChunkArrival, SwitchReport, count_underruns, delivery_rate, milliseconds

Outcome = Literal["completed", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session. `started` is the clock second at which it was asked for, `code` says why it was no success.

    Refused: it never began, for want of a place for example. Failed: it began and ended otherwise than by its stop.
    """

    started: float
    outcome: Outcome
    code: str | None = None
    fps: float = 0.0
    arrivals: tuple[ChunkArrival, ...] = ()
    missing: int = 0
    duplicated: int = 0
    switches: tuple[SwitchReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of `count` values: the least that is not exceeded by this share of them; null where there are none."""

    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Sessions, chunks and frames are counted; `_ms` are milliseconds; `fps` is per session, `fps_total` of all."""

    sessions: int
    completed: int
    refused: Mapping[str, int]
    failed: Mapping[str, int]
    chunks: int
    frames: int
    missing: int
    duplicated: int
    underruns: int
    fps_total: float
    fps: Percentiles
    first_frame_ms: Percentiles
    chunk_gap_ms: Percentiles
    switches: int
    switches_received: int
    switch_queued_ms: Percentiles
    switch_applied_ms: Percentiles
    switch_received_ms: Percentiles

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def percentiles(values: Iterable[float | None]) -> Percentiles:
    """Nearest rank, so that each is a value that was measured. None is no value."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return Percentiles(0)

    def rank(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 2)

    return Percentiles(len(ordered), p50=rank(0.50), p95=rank(0.95), p99=rank(0.99), max=rank(1.0))


def build_load_report(records: Sequence[SessionRecord]) -> LoadReport:
    """The report of all sessions of one load."""
    seen = [record for record in records if record.arrivals]
    switches = [switch for record in records for switch in record.switches]
    return LoadReport(
        sessions=len(records),
        completed=sum(record.outcome == "completed" for record in records),
        refused=_codes(records, "refused"),
        failed=_codes(records, "failed"),
        chunks=sum(len(record.arrivals) for record in records),
        frames=sum(chunk.frames for record in records for chunk in record.arrivals),
        missing=sum(record.missing for record in records),
        duplicated=sum(record.duplicated for record in records),
        underruns=sum(count_underruns(record.arrivals, record.fps) for record in seen),
        fps_total=round(_total_rate(seen), 2),
        fps=percentiles(delivery_rate(record.arrivals, record.started) for record in seen),
        first_frame_ms=percentiles(milliseconds(record.started, record.arrivals[0].received) for record in seen),
        chunk_gap_ms=percentiles(gap for record in seen for gap in _gaps(record.arrivals)),
        switches=len(switches),
        switches_received=sum(switch.received_ms is not None for switch in switches),
        switch_queued_ms=percentiles(switch.queued_ms for switch in switches),
        switch_applied_ms=percentiles(switch.applied_ms for switch in switches),
        switch_received_ms=percentiles(switch.received_ms for switch in switches),
    )


def _codes(records: Iterable[SessionRecord], outcome: Outcome) -> dict[str, int]:
    codes = Counter(record.code or "unknown" for record in records if record.outcome == outcome)
    return dict(sorted(codes.items()))


def _gaps(arrivals: Sequence[ChunkArrival]) -> list[float]:
    return [(later.received - earlier.received) * 1000.0 for earlier, later in pairwise(arrivals)]


def _total_rate(records: Sequence[SessionRecord]) -> float:
    """Frames a second of all sessions together, from the first chunk of any to the last of any."""
    chunks = sorted((chunk for record in records for chunk in record.arrivals), key=lambda chunk: chunk.received)
    if len(chunks) < 2 or chunks[-1].received == chunks[0].received:
        return 0.0
    return sum(chunk.frames for chunk in chunks[1:]) / (chunks[-1].received - chunks[0].received)
