"""Shares of the survival run: a real worker that is killed and stopped, and sessions that go on exactly."""

import pytest

from tests.bench import survival


async def test_sessions_go_on_exactly_in_the_next_worker() -> None:
    figures = await survival.run(1, 1, sessions=2, seconds=6.0)
    assert figures["signals"] >= 2
    assert figures["resumed"] >= 1


@pytest.mark.system
async def test_twenty_kills_at_random_moments() -> None:
    figures = await survival.run(20, 0, sessions=2, seconds=30.0)
    assert figures["signals"] >= 20
    assert figures["resumed"] >= 10
