"""Warming up on a stream that is thrown away, the facts it gives, and loaders that are none."""

import msgspec
import pytest

from service.worker.settings import WorkerSettings
from service.worker.warmup import LoaderError, load_engine, warm_up
from tests.service.worker.fake_engine import FIRST_FRAMES, FPS, FRAMES_PER_BLOCK, FakeEngine, FakeStream
from tests.service.worker.fakes import SETTINGS


def test_two_blocks_and_a_recache_are_made_and_the_stream_is_closed() -> None:
    engine = FakeEngine()
    facts = warm_up(engine, threads=3, budget_bytes=70)
    licence = (facts.licence, facts.licence_url, facts.commercial_use, facts.licence_accept_required)
    assert licence == ("none", "https://example.org/none", False, True)
    (stream,) = engine.streams
    assert (stream.block, stream.committed, stream.closed) == (2, 2, True)
    assert len(stream.journal.events) == 2
    assert (facts.preset, facts.fps, facts.threads) == ("fake", FPS, 3)
    assert (facts.first_block_frames, facts.frames_per_block) == (FIRST_FRAMES, FRAMES_PER_BLOCK)
    assert (facts.max_streams, facts.plan.budget_bytes, facts.plan.stream_bytes) == (5, 70, 10)
    assert facts.block_ms == 3.0  # of the fake's timings: denoise, clean pass and decode


def test_an_engine_that_fails_while_warming_up_leaves_no_open_stream() -> None:
    engine = FakeEngine()

    def fail(stream: FakeStream, number: int) -> None:
        raise RuntimeError("no kernel")

    engine.on_pass = fail
    with pytest.raises(RuntimeError, match="no kernel"):
        warm_up(engine, threads=1, budget_bytes=None)
    assert engine.streams[0].closed


def test_the_loader_is_found_by_its_path() -> None:
    assert isinstance(load_engine(SETTINGS), FakeEngine)


@pytest.mark.parametrize("path", ["", "no.such.module:load", "service.ipc", "service.ipc:no_such_function"])
def test_a_path_that_leads_nowhere_is_named(path: str) -> None:
    settings: WorkerSettings = msgspec.structs.replace(SETTINGS, generator=path)
    with pytest.raises(LoaderError, match="module:function") as refused:
        load_engine(settings)
    assert refused.value.field == "generator"
