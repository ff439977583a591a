"""Events of a journal one by one, as they are stored beside chunks."""

import pytest

from models.errors import RestoreError
from models.journal import AttemptEvent, PromptEvent, TakeEvent, WeightedPrompt, event_from_json, event_to_json


@pytest.mark.parametrize(
    "event",
    [
        PromptEvent(block=2, prompts=(WeightedPrompt("a red ball"),), event_id="e", transition_chunks=3),
        TakeEvent(block=1, take=2),
        AttemptEvent(block=4, attempt=1),
    ],
)
def test_an_event_is_read_as_it_was_written(event: PromptEvent | TakeEvent | AttemptEvent) -> None:
    assert event_from_json(event_to_json(event)) == event


@pytest.mark.parametrize("text", ["", "{", '"a"', "[]", '{"type": "dream"}', "[" * 100_000])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(RestoreError):
        event_from_json(text)
