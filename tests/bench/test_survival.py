"""A share of the survival run: a real worker that is killed and stopped, and sessions that go on exactly."""

from tests.bench import survival


async def test_sessions_go_on_exactly_in_the_next_worker() -> None:
    figures = await survival.run(1, 1, sessions=2, seconds=6.0)
    assert figures["signals"] >= 2
    assert figures["resumed"] >= 1
