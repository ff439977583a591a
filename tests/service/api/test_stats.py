"""The figures of a session: counts of what was sent, rates of the last interval, medians of the last blocks."""

import msgspec

from service import ipc
from service.api import translate
from service.api.stats import MEDIAN_OF, Pulse, SessionTally
from tests.service.fakes import FRAMES_PER_BLOCK, FakeWorker


def chunks(count: int, *, denoise: float = 5.0, lead: float = 0.75) -> list[ipc.Chunk]:
    events: list[ipc.Event] = []
    worker = FakeWorker(events.append)
    worker.handle(ipc.Start(session="s", prompts=(ipc.Prompt("a"),), model="demo", credits=count))
    timings = ipc.StageMilliseconds(denoise=denoise, encode=100.0)
    return [
        msgspec.structs.replace(worker.chunk("s", index), timings=timings, lead_seconds=lead) for index in range(count)
    ]


def test_there_are_no_figures_before_the_first_chunk() -> None:
    assert SessionTally().report(5.0, Pulse()) is None


def test_rates_are_of_the_interval_and_counts_of_all() -> None:
    tally, pulse = SessionTally(), Pulse()
    for index, chunk in enumerate(chunks(4)):
        pulse.made(chunk, 10.0 + index)
        tally.sent(translate.chunk_metadata(chunk), 10.0 + index)
    first = tally.report(13.0, pulse)
    assert first is not None
    assert (first.at_seconds, first.chunks, first.frames) == (3.0, 4, 4 * FRAMES_PER_BLOCK)
    assert (first.fps, first.realtime_ratio) == (16.0, 0.75)
    assert (first.block_ms, first.lead_seconds, first.bytes_sent) == (5.0, 0.75, 4 * 1200)
    later = tally.report(15.0, pulse)
    assert later is not None
    assert (later.fps, later.frames, later.lead_seconds) == (0.0, first.frames, 0.0)


def test_the_median_is_of_the_last_blocks_only() -> None:
    tally, pulse = SessionTally(), Pulse()
    for chunk in [*chunks(100, denoise=900.0), *chunks(MEDIAN_OF, denoise=3.0)]:
        pulse.made(chunk, 0.0)
    tally.sent(translate.chunk_metadata(chunks(1)[0]), 0.0)
    pulse.switched(412.5)
    report = tally.report(0.0, pulse)
    assert report is not None
    assert (report.block_ms, report.switch_ms, report.fps, report.realtime_ratio) == (3.0, 412.5, 0.0, 0.0)


def test_dropped_frames_are_counted_and_warned_of_once() -> None:
    tally = SessionTally()
    whole = translate.chunk_metadata(chunks(1)[0])
    tally.sent(whole.model_copy(update={"num_frames": 0, "dropped_frames": FRAMES_PER_BLOCK, "byte_length": 0}), 0.0)
    assert (tally.frames, tally.frames_dropped) == (0, FRAMES_PER_BLOCK)
    assert [tally.drops_to_warn_of(), tally.drops_to_warn_of()] == [FRAMES_PER_BLOCK, 0]
