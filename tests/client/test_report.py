"""The report: figures from arrival times, and the keys that other programs read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.report import (
    ChunkArrival,
    Losses,
    StreamReport,
    SwitchReport,
    build_report,
    count_underruns,
    delivery_rate,
    milliseconds,
)

KEYS = ["frames", "seconds", "fps", "first_frame_ms", "chunks", "missing", "duplicated", "underruns", "switches"]
KEYS += ["discarded", "reconnects", "worker_restarts"]
SWITCH_KEYS = ["prompt", "queued_ms", "applied_ms", "received_ms", "chunk", "shown_ms"]


def on_time(count: int, *, gap: float = 0.75, first: float = 10.0) -> list[ChunkArrival]:
    return [ChunkArrival(first + gap * index, 0.75 * index, 12) for index in range(count)]


def test_json_has_exactly_the_keys_that_are_promised() -> None:
    report = build_report(on_time(2), fps=16, started=9.5, switches=[SwitchReport("a fox", 1.0, 2.0, 3.0, 1)])
    document = json.loads(report.to_json())
    assert list(document) == KEYS
    assert list(document["switches"][0]) == SWITCH_KEYS
    assert "\n" not in report.to_json()


def test_figures_of_a_take() -> None:
    losses = Losses(missing=1, duplicated=2, discarded=3, reconnects=4, worker_restarts=5)
    report = build_report(on_time(5), fps=16, started=9.5, losses=losses)
    assert report == StreamReport(
        frames=60,
        seconds=3.75,
        fps=16.0,
        first_frame_ms=500.0,
        chunks=5,
        missing=1,
        duplicated=2,
        underruns=0,
        switches=(),
        discarded=3,
        reconnects=4,
        worker_restarts=5,
    )


def test_a_take_without_a_chunk_says_that_it_measured_nothing() -> None:
    report = build_report([], fps=16, started=9.5)
    assert (report.frames, report.fps, report.first_frame_ms) == (0, 0.0, None)
    assert json.loads(report.to_json())["first_frame_ms"] is None


def test_rate_of_a_single_chunk_counts_from_the_start() -> None:
    assert delivery_rate(on_time(1), started=9.25) == 16.0


def test_rate_leaves_the_wait_for_the_first_chunk_out() -> None:
    assert delivery_rate(on_time(5, gap=0.25), started=0.0) == 48.0


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ([0.0, 0.75, 1.5], 0),
        ([0.0, 0.76, 1.5], 1),  # late once; the third is early for the moved schedule
        ([0.0, 0.76, 1.52], 2),  # late, and late again
        ([0.0, 0.1, 0.2], 0),
        ([0.0, 5.0, 5.75], 1),  # one long stall is one underrun
    ],
)
def test_underruns(arrivals: list[float], expected: int) -> None:
    chunks = [ChunkArrival(received, 0.75 * index, 12) for index, received in enumerate(arrivals)]
    assert count_underruns(chunks, 16) == expected


@given(st.lists(st.integers(0, 200), max_size=40))
def test_underruns_are_the_chunks_that_came_when_the_buffer_was_empty(gaps: list[int]) -> None:
    """Against a plain count of what is buffered, in 1/64 s: a chunk lasts 48 of them."""
    arrivals, clock, buffered, expected = [ChunkArrival(0.0, 0.0, 12)], 0, 48, 0
    for index, gap in enumerate(gaps, start=1):
        clock += gap
        expected += gap > buffered
        buffered = max(0, buffered - gap) + 48
        arrivals.append(ChunkArrival(clock / 64, 0.75 * index, 12))
    assert count_underruns(arrivals, 16) == expected


def test_milliseconds_of_what_was_not_seen_is_none() -> None:
    assert milliseconds(1.0, 1.2504) == 250.4
    assert milliseconds(None, 1.0) is None
    assert milliseconds(1.0, None) is None
