"""Commands without an answer: which event answers which, and what another worker is told."""

from service import ipc
from service.api.unanswered import Answerable, Unanswered

PROMPT = ipc.Interact(session="s", event_id="p", prompts=(ipc.Prompt("a"),))
PAUSE = ipc.Control(session="s", action="pause")
RESUME = ipc.Control(session="s", action="resume")
REWIND = ipc.Rewind(session="s", block=1, event_id="r")


def holding(*commands: Answerable) -> Unanswered:
    made = Unanswered()
    for command in commands:
        made.hold(command)
    return made


def sent(unanswered: Unanswered) -> list[Answerable]:
    found = []
    while (command := unanswered.to_send()) is not None:
        found.append(command)
    return found


def applied(action: ipc.Action) -> ipc.ControlApplied:
    return ipc.ControlApplied(session="s", action=action, sequence=0)


def test_each_is_sent_once_to_each_worker_until_it_is_answered() -> None:
    held = holding(PROMPT, PAUSE)
    assert (sent(held), sent(held)) == ([PROMPT, PAUSE], [])
    held.hold(REWIND)
    assert sent(held) == [REWIND]
    held.answer(applied("pause"))
    held.lost()
    assert sent(held) == [PROMPT, REWIND]
    assert len(held) == 2


def test_each_event_answers_its_command_and_no_other() -> None:
    ends: tuple[tuple[ipc.SessionEvent, Answerable], ...] = (
        (ipc.Applied(session="s", event_id="p", sequence=0, block=0, queued_ms=0.0, latency_ms=0.0), PROMPT),
        (ipc.Superseded(session="s", event_id="p", by="q"), PROMPT),
        (ipc.Rejected(session="s", event_id="p", code="x", message=""), PROMPT),
        (ipc.Rejected(session="s", event_id="r", code="x", message=""), REWIND),
        (ipc.Rewound(session="s", block=1, take=1, sequence=4, event_id="r"), REWIND),
        (applied("pause"), PAUSE),
        (applied("resume"), RESUME),
    )
    for event, command in ends:
        held = holding(PAUSE, RESUME, PROMPT, REWIND)
        assert held.answer(event) == command
        assert held.answer(event) is None
        assert len(held) == 3


def test_prompts_before_all_else_are_told_with_the_start_and_restored_ones_are_told_already() -> None:
    held = holding(PAUSE)
    assert held.first_interactions() == ()
    held = Unanswered()
    held.restore(PROMPT)
    held.hold(REWIND)
    assert (sent(held), held.first_queued(ipc.Queued(session="s", event_id="p"))) == ([REWIND], False)
    held.lost()
    assert (held.first_interactions(), sent(held)) == ((PROMPT,), [REWIND])


def test_after_a_rewind_a_prompt_waits_for_nothing_that_was_made_before() -> None:
    held = Unanswered()
    held.restore(ipc.changed(PROMPT, not_before=9.0))
    held.hold(REWIND)
    held.answer(ipc.Rewound(session="s", block=1, take=1, sequence=4, event_id="r"))
    held.lost()
    assert held.first_interactions() == (PROMPT,)


def test_that_a_prompt_is_accepted_is_said_once() -> None:
    held = holding(PROMPT)
    queued = ipc.Queued(session="s", event_id="p")
    assert [held.first_queued(queued), held.first_queued(queued), held.answer(queued)] == [True, False, None]
