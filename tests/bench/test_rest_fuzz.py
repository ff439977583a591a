"""A short part of `python -m tests.bench.rest_fuzz`: a few hundred requests in any order, and no fault."""

import pytest

from tests.bench.rest_fuzz import BUSY, fuzz, server


@pytest.mark.system
def test_a_few_hundred_requests_in_any_order() -> None:
    with server() as address:
        tally = fuzz(300, address=address)
    assert tally.requests >= 300
    assert len(tally.operations) > 20
    assert {status for status in tally.statuses if status >= 500} <= set(BUSY)
