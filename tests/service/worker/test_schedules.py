"""A part of what `tests/bench/schedules.py` plays: random schedules, whose journals make the same frames again."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.generator import Generator
from tests.models.engines import make_generator
from tests.service.worker.schedules import SCHEDULES, Step, play

GENERATOR: Generator = make_generator()
ROOM = 1 << 20


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(schedule=SCHEDULES, places=st.integers(1, 3), copy_bytes=st.sampled_from((0, 30_000, ROOM)))
def test_whatever_is_asked_the_journal_makes_the_same_frames_again(
    schedule: tuple[Step, ...], places: int, copy_bytes: int
) -> None:
    store = Path(tempfile.mkdtemp())
    try:
        play(schedule, store=store, generator=GENERATOR, places=places, copy_bytes=copy_bytes)
    finally:
        shutil.rmtree(store)
