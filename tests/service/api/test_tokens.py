"""Resume tokens: the newest is good, for its session and its time."""

import math

from service.api.tokens import Tokens


def test_the_newest_token_of_a_session_is_good_for_it_alone() -> None:
    tokens = Tokens(8)
    old, new, other = (tokens.issue(name, until=10.0) for name in ("a", "a", "b"))
    assert len({old, new, other}) == 3
    assert [tokens.matches("a", token, now=9.0) for token in (old, new, other, "")] == [False, True, False, False]
    assert tokens.matches("a", new, now=9.0)
    assert not tokens.matches("none", new, now=9.0)


def test_a_token_ends_with_its_time_and_when_it_is_revoked() -> None:
    tokens = Tokens(8)
    token = tokens.issue("a", until=10.0)
    assert (tokens.matches("a", token, now=10.0), tokens.known("a")) == (False, True)
    tokens.revoke("a")
    tokens.revoke("a")
    assert (tokens.matches("a", token, now=9.0), tokens.known("a")) == (False, False)


def test_of_too_many_the_oldest_goes_but_none_of_a_session_that_lives() -> None:
    tokens = Tokens(2)
    names = ("live", "a", "b", "c")
    held = {name: tokens.issue(name, until=math.inf if name == "live" else 10.0) for name in names}
    assert [tokens.matches(name, token, now=0.0) for name, token in held.items()] == [True, False, False, True]
    more = Tokens(1)
    for name in "xyz":
        more.issue(name, until=math.inf)
    assert all(more.known(name) for name in "xyz")
