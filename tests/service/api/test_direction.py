"""Who directs and who watches: offering, taking, giving up, leaving."""

import pytest

from service.api.direction import Direction
from service.errors import ErrorCode, ProtocolError


def direction(*, shared: bool = False) -> Direction[str]:
    made: Direction[str] = Direction(shared=shared)
    made.lead("a")
    made.watch("b")
    return made


def refused(call: object, *arguments: object) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def test_the_director_may_direct_and_viewers_only_where_it_is_shared() -> None:
    direction().check("a")
    assert refused(direction().check, "b") is ErrorCode.NOT_DIRECTOR
    shared = direction(shared=True)
    shared.check("b")
    assert refused(shared.check, "a stranger") is ErrorCode.NOT_DIRECTOR


def test_everybody_hears_the_director_first() -> None:
    made = direction()
    made.watch("c")
    assert (made.everybody(), made.viewers) == (("a", "b", "c"), 2)


def test_whoever_leads_now_lets_go_who_did_before() -> None:
    made = direction()
    assert made.lead("b") == "a"
    assert (made.director, made.everybody()) == ("b", ("b",))
    assert made.lead("b") is None


def test_to_leave_says_whether_it_was_the_director() -> None:
    made = direction()
    assert [made.leave("b"), made.leave("a"), made.leave("a")] == [False, True, False]
    assert (made.director, made.everybody()) == (None, ())


def test_direction_is_taken_where_it_was_offered_and_the_director_before_watches() -> None:
    made = direction()
    assert refused(made.take, "b") is ErrorCode.DIRECTION_NOT_OFFERED
    assert refused(made.offer, "b") is ErrorCode.NOT_DIRECTOR
    made.offer("a")
    assert made.take("b") == "a"
    assert (made.director, made.offered, made.everybody()) == ("b", False, ("b", "a"))
    assert refused(made.take, "a") is ErrorCode.DIRECTION_NOT_OFFERED


def test_to_give_up_leaves_nobody_until_somebody_takes_it() -> None:
    made = direction()
    made.release("a")
    assert (made.director, made.everybody()) == (None, ("b", "a"))
    assert made.take("b") is None
    assert made.take("b") is None
    assert made.director == "b"
