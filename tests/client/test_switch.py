"""Switch and PendingSwitches: stages in every order, and one end each."""

import pytest

from client.errors import ClientStateError, PromptSuperseded, RequestRefused, SessionEnded, WaitTimeout
from client.switch import PendingSwitches, Switch
from service.protocol.client import SessionInteraction
from service.protocol.server import (
    ErrorMessage,
    InteractionApplied,
    InteractionQueued,
    InteractionRejected,
    InteractionSuperseded,
)
from tests.client.fake_server import make_chunk


def asked(name: str) -> SessionInteraction:
    return SessionInteraction(event_id=name, prompt=f"prompt {name}")


def followed(*names: str) -> tuple[PendingSwitches, list[Switch]]:
    pending = PendingSwitches(limit=8)
    return pending, [pending.add(Switch(name, f"prompt {name}", sent_at=10.0), asked(name)) for name in names]


def applied(name: str, sequence: int) -> InteractionApplied:
    return InteractionApplied(event_id=name, sequence=sequence, block=sequence, queued_ms=1.0, latency_ms=2.0)


async def test_all_stages_fill_in() -> None:
    pending, (switch,) = followed("a")
    pending.on_message(InteractionQueued(event_id="a"), 10.1)
    assert (switch.report().queued_ms, switch.report().applied_ms) == (100.0, None)
    pending.on_message(applied("a", 3), 10.2)
    pending.on_chunk(make_chunk(3)[0].model_copy(update={"started_event_ids": ("a",)}), 10.3)
    report = switch.report()
    assert (report.prompt, report.queued_ms, report.applied_ms) == ("prompt a", 100.0, 200.0)
    assert (report.received_ms, report.chunk) == (300.0, 3)
    assert await switch.wait_received(timeout=1) == 3
    await switch.wait_queued(timeout=1)


async def test_chunk_may_come_before_the_word_that_it_was_applied() -> None:
    pending, (switch,) = followed("a")
    pending.on_chunk(make_chunk(3)[0].model_copy(update={"event_ids": ("a",)}), 10.3)
    pending.on_message(applied("a", 3), 10.4)
    assert (switch.report().received_ms, switch.report().applied_ms, switch.sequence) == (300.0, 400.0, 3)
    assert switch.is_over


async def test_first_chunk_counts_not_the_later_ones() -> None:
    pending, (switch,) = followed("a")
    for sequence, now in ((3, 10.3), (4, 11.0)):
        pending.on_chunk(make_chunk(sequence)[0].model_copy(update={"event_ids": ("a",)}), now)
    assert (switch.sequence, switch.received_at) == (3, 10.3)


async def test_refusals_are_raised_where_they_are_waited_for() -> None:
    pending, switches = followed("a", "b", "c")
    pending.on_message(InteractionRejected(event_id="a", code="prompt_empty", message="It is.", field="prompt"), 11.0)
    assert pending.on_error(ErrorMessage(code="interactions_full", message="Full.", event_id="b"))
    pending.on_message(InteractionQueued(event_id="c"), 10.5)
    pending.on_message(InteractionSuperseded(event_id="c", by="d"), 11.0)
    with pytest.raises(RequestRefused, match=r"prompt_empty \[prompt\]: It is\.") as refused:
        await switches[0].wait_queued()
    assert (refused.value.code, refused.value.field) == ("prompt_empty", "prompt")
    with pytest.raises(RequestRefused, match="interactions_full"):
        await switches[1].wait_received()
    await switches[2].wait_queued()
    with pytest.raises(PromptSuperseded, match="prompt 'd' took its place"):
        await switches[2].wait_received()


async def test_end_of_the_session_ends_every_wait_but_not_what_was_received() -> None:
    pending, (first, second) = followed("a", "b")
    pending.on_chunk(make_chunk(3)[0].model_copy(update={"started_event_ids": ("a",)}), 10.3)
    pending.end(SessionEnded("over"))
    assert await first.wait_received() == 3
    with pytest.raises(SessionEnded, match="over"):
        await second.wait_received()


async def test_waits_end_in_time() -> None:
    _, (switch,) = followed("a")
    with pytest.raises(WaitTimeout, match=r"expected prompt 'a' to be queued within 0\.01 s"):
        await switch.wait_queued(timeout=0.01)
    with pytest.raises(TimeoutError, match="to be received"):
        await switch.wait_received(timeout=0.01)


async def test_what_is_said_about_unknown_prompts_is_passed_over() -> None:
    pending, (switch,) = followed("a")
    pending.on_message(InteractionQueued(event_id="z"), 11.0)
    assert not pending.on_error(ErrorMessage(code="rate_limited", message="Slower.", event_id="z"))
    assert not pending.on_error(ErrorMessage(code="rate_limited", message="Slower."))
    assert switch.queued_at is None


async def test_same_event_id_is_the_same_switch_and_there_is_a_bound() -> None:
    pending, (first,) = followed("a")
    assert pending.add(Switch("a", "prompt a", sent_at=12.0), asked("a")) is first
    for index in range(7):
        pending.add(Switch(f"more {index}", "x", sent_at=12.0), asked(f"more {index}"))
    with pytest.raises(ClientStateError, match="expected at most 8 prompts without an answer"):
        pending.add(Switch("one too many", "x", sent_at=12.0), asked("one too many"))
