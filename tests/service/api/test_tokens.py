"""Tokens: one a session, the newest; one that was used is good until its holder is known to have the next."""

import math

from service.api.tokens import Tokens


def test_the_newest_is_good_and_the_one_before_is_not() -> None:
    tokens = Tokens(limit=4)
    first = tokens.issue("a", until=math.inf)
    second = tokens.issue("a", until=10.0)
    assert [tokens.matches("a", token, 9.0) for token in (first, second, "", "x")] == [False, True, False, False]
    assert not tokens.matches("a", second, 10.0), "its time is over"
    assert not tokens.matches("b", second, 0.0)
    tokens.revoke("a")
    assert not tokens.matches("a", second, 0.0)
    assert not tokens.known("a")


def test_a_used_one_is_good_until_the_next_is_known_to_have_arrived() -> None:
    tokens = Tokens(limit=4)
    first = tokens.issue("a", until=math.inf)
    for _ in range(3):  # each answer is lost
        tokens.use("a", first)
        lost = tokens.issue("a", until=math.inf)
        assert tokens.matches("a", first, 0.0)
        assert tokens.matches("a", lost, 0.0)
    tokens.confirm("a")
    assert not tokens.matches("a", first, 0.0)
    assert tokens.matches("a", lost, 0.0)
    tokens.use("a", lost)
    tokens.revoke("a")
    assert not tokens.matches("a", lost, 0.0)


def test_those_that_end_by_themselves_are_bounded() -> None:
    tokens = Tokens(limit=2)
    kept = tokens.issue("live", until=math.inf)
    for name in ("a", "b", "c"):
        tokens.issue(name, until=1.0)
    assert [name for name in ("live", "a", "b", "c") if tokens.known(name)] == ["live", "c"]
    assert tokens.matches("live", kept, 1e9)
