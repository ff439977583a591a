"""What a film is divided into: a chapter for each prompt, under the words of that prompt.

Knows the engine's journal; nothing of files. Invariant: the title of a block is that of the newest prompt that took
effect in it or before.
"""

from collections.abc import Sequence

from models.journal import Event, PromptEvent, TakeEvent, WeightedPrompt
from service.commands.replay_plan import Run


def title_of(prompts: Sequence[WeightedPrompt]) -> str:
    """A prompt's words; of a blend, all of them."""
    return " + ".join(prompt.text for prompt in prompts)


def title_at(events: Sequence[Event], block: int) -> str:
    """The title of a block as these events, in the order in which they happened, leave it; empty without a prompt."""
    prompts: list[PromptEvent] = []
    for event in events:
        if isinstance(event, TakeEvent):
            prompts = prompts[:1] + [prompt for prompt in prompts[1:] if prompt.block < event.block]
        elif isinstance(event, PromptEvent) and event.block <= block:
            prompts.append(event)
    return title_of(prompts[-1].prompts) if prompts else ""


def titles_of(runs: Sequence[Run]) -> dict[int, str]:
    """The prompt that each chunk was made under, by its number."""
    return {chunk.sequence: title_at(run.journal.events, chunk.block) for run in runs for chunk in run.chunks}
