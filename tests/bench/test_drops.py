"""A share of the drops run: every chunk comes once, in order, whatever was cut."""

from tests.bench import drops


async def test_every_chunk_comes_once_over_connections_that_are_cut() -> None:
    outcome = await drops.run(12, 12, cuts_each=6)
    assert (outcome.missing, outcome.twice, outcome.wrong) == (0, 0, 0), outcome
    assert (outcome.cuts >= 12, outcome.races >= 12, outcome.chunks > 20) == (True, True, True)
