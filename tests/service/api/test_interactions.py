"""Event ids: new, retry or conflict; a bound on what waits and on what is remembered."""

import pytest

from service.api.interactions import Acceptance, Interactions, digest_of
from service.errors import ErrorCode, ProtocolError
from service.protocol.client import SessionInteraction


def message(event_id: str, prompt: str = "a storm") -> SessionInteraction:
    return SessionInteraction(event_id=event_id, prompt=prompt)


def test_the_same_again_is_a_retry_and_another_one_a_conflict() -> None:
    interactions = Interactions(waiting=4, remembered=8)
    assert interactions.accept(message("e")) is Acceptance.NEW
    assert interactions.accept(message("e")) is Acceptance.RETRY
    interactions.finish("e")
    assert interactions.accept(message("e")) is Acceptance.RETRY
    with pytest.raises(ProtocolError) as caught:
        interactions.accept(message("e", "a calm"))
    assert (caught.value.code, caught.value.field, caught.value.event_id) == (
        ErrorCode.EVENT_ID_CONFLICT,
        "event_id",
        "e",
    )


def test_an_id_that_the_start_took_is_taken() -> None:
    interactions = Interactions(waiting=4, remembered=8)
    interactions.reserve("e")
    with pytest.raises(ProtocolError, match="another interaction"):
        interactions.accept(message("e"))
    assert interactions.end() == ()


def test_only_so_many_wait() -> None:
    interactions = Interactions(waiting=2, remembered=8)
    interactions.accept(message("a"))
    interactions.accept(message("b"))
    with pytest.raises(ProtocolError) as caught:
        interactions.accept(message("c"))
    assert (caught.value.code, caught.value.expected) == (ErrorCode.INTERACTIONS_FULL, "at most 2 waiting")
    interactions.finish("a")
    assert interactions.accept(message("c")) is Acceptance.NEW
    assert interactions.end() == ("b", "c")
    assert interactions.accept(message("b", "other")) is Acceptance.NEW


def test_what_was_accepted_elsewhere_is_known_by_what_was_said() -> None:
    interactions = Interactions(waiting=1, remembered=2)
    for name in ("a", "b", "c"):  # another server may have taken in more
        interactions.restore(name, digest_of(message(name)), waiting=name != "a")
    assert [interactions.accept(message(name)) for name in ("b", "c")] == [Acceptance.RETRY] * 2
    with pytest.raises(ProtocolError, match="another interaction"):
        interactions.accept(message("b", "a calm"))
    with pytest.raises(ProtocolError, match="are waiting"):
        interactions.accept(message("d"))
    assert interactions.end() == ("b", "c")


def test_what_could_not_be_taken_in_may_be_asked_for_again() -> None:
    interactions = Interactions(waiting=1, remembered=2)
    interactions.accept(message("a"))
    interactions.forget("a")
    assert interactions.accept(message("a")) is Acceptance.NEW


def test_the_oldest_finished_id_is_forgotten_first() -> None:
    interactions = Interactions(waiting=2, remembered=3)
    interactions.accept(message("waits"))
    for index in range(10):
        interactions.accept(message(str(index)))
        interactions.finish(str(index))
    assert interactions.accept(message("9")) is Acceptance.RETRY
    assert interactions.accept(message("waits")) is Acceptance.RETRY
    assert interactions.accept(message("0", "forgotten, so new")) is Acceptance.NEW
