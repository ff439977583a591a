"""Sessions share their worker's weights: one set of adapters at a time, and who is alone may change it."""

import msgspec

from service.errors import ErrorCode
from service.ipc import Adapter, Ended, Failed, Rejected, Start, Started, Stop
from tests.service.worker.stage import Stage, interact, start

INK = (Adapter("ink", 0.5),)
WASH = (Adapter("wash"),)


def with_adapters(name: str, adapters: tuple[Adapter, ...] | None) -> Start:
    return msgspec.structs.replace(start(name, credits=1), adapters=adapters)


def codes(stage: Stage, session: str) -> list[str]:
    return [event.code for event in stage.of(Failed, session) if isinstance(event, Failed)]


def journal(stage: Stage, session: str) -> str:
    (ended,) = stage.of(Ended, session)
    assert isinstance(ended, Ended)
    return ended.journal


def test_a_session_has_what_it_asks_for_and_others_of_the_same_set_come_beside_it() -> None:
    stage = Stage()
    stage.play([with_adapters("a", INK)], [with_adapters("b", INK)])
    assert len(stage.of(Started)) == 2
    assert '"adapters": [{"name": "ink", "scale": 0.5}]' in journal(stage, "a")


def test_another_set_is_refused_until_the_worker_is_free() -> None:
    stage = Stage()
    stage.play(
        [with_adapters("a", INK)],
        [with_adapters("b", WASH), with_adapters("c", None)],
        [Stop(session="a")],
        [with_adapters("d", WASH)],
    )
    assert codes(stage, "b") == codes(stage, "c") == [ErrorCode.ADAPTERS_UNAVAILABLE]
    assert len(stage.of(Started, "d")) == 1


def test_an_unknown_adapter_is_refused_and_takes_no_place() -> None:
    stage = Stage()
    stage.play([with_adapters("a", (Adapter("oil"),))], [with_adapters("b", None)])
    assert codes(stage, "a") == [ErrorCode.ADAPTERS_UNKNOWN]
    assert len(stage.of(Started, "b")) == 1


def test_a_live_change_is_for_who_is_alone() -> None:
    stage = Stage()
    change = msgspec.structs.replace(interact("e", session="a"), adapters=WASH)
    stage.play(
        [with_adapters("a", INK), with_adapters("b", INK)],
        [change],
        [Stop(session="b")],
        [msgspec.structs.replace(change, event_id="f")],
        [with_adapters("c", INK), with_adapters("d", WASH)],
    )
    (refused,) = stage.of(Rejected, "a")
    assert isinstance(refused, Rejected)
    assert (refused.event_id, refused.code, refused.field) == ("e", ErrorCode.ADAPTERS_UNAVAILABLE, "adapters")
    assert codes(stage, "c") == [ErrorCode.ADAPTERS_UNAVAILABLE], "the set that was asked for counts from then on"
    assert len(stage.of(Started, "d")) == 1


def test_weights_do_not_fade() -> None:
    """A transition of the text is no way to change adapters, nor is keeping the past as it is."""
    stage = Stage()
    change = msgspec.structs.replace(interact("e", session="a"), adapters=WASH)
    slow = msgspec.structs.replace(change, transition_chunks=3)
    keeping = msgspec.structs.replace(change, event_id="f", mode="keep")
    stage.play([with_adapters("a", INK)], [slow, keeping])
    assert [event.field for event in stage.of(Rejected, "a") if isinstance(event, Rejected)] == ["adapters"] * 2


def test_a_second_start_of_a_session_leaves_the_first_its_set() -> None:
    stage = Stage()
    stage.play([with_adapters("a", INK)], [with_adapters("a", INK)], [with_adapters("b", WASH)])
    assert codes(stage, "b") == [ErrorCode.ADAPTERS_UNAVAILABLE]
