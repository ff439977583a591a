"""A share of the cycles run: after everybody has gone, nothing is left."""

from tests.bench import cycles


async def test_nothing_is_left_of_connections_that_came_and_went() -> None:
    left, figures = await cycles.run(240)
    assert left == cycles.Left(places=0, turns=0, connections=0, worker_sessions=0, tasks=0, objects=0)
    assert figures["started"] != 0
