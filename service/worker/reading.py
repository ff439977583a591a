"""What is said of a prompt that was not read as it was written: cut at the encoder's length, or with unknown words.

Knows prompts and what the encoder says of them; knows nothing of sessions or streams. Nothing stops because of it.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from service.errors import WarningCode
from service.ipc import Prompt, Warned
from service.worker.engine import PromptReading


class Reader(Protocol):
    """As much of an engine as reading takes."""

    def read_prompt(self, text: str) -> PromptReading: ...


def reading_warnings(engine: Reader, session: str, *, prompts: Sequence[Prompt], event_id: str) -> Iterator[Warned]:
    """One warning for each thing that is wrong with each prompt."""
    for prompt in prompts:
        reading = engine.read_prompt(prompt.text)
        if reading.kept_characters < len(prompt.text):
            yield Warned(
                session=session,
                code=WarningCode.PROMPT_TRUNCATED,
                message=f"The prompt is read up to character {reading.kept_characters} of {len(prompt.text)}.",
                field="prompt",
                event_id=event_id or None,
                kept_characters=reading.kept_characters,
            )
        if reading.unknown_words:
            yield Warned(
                session=session,
                code=WarningCode.WORDS_UNKNOWN,
                message=f"The model does not know: {', '.join(reading.unknown_words)}.",
                field="prompt",
                event_id=event_id or None,
            )
