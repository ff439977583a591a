"""The hooks over a job's timeline: each prompt with the one before it.

It knows timelines and hooks; nothing of HTTP. Invariant: a timeline of which one prompt is refused makes no job; where
the hooks are off it comes out as it came.
"""

from dataclasses import replace

from service.hooks import Asked, PromptContext, PromptHooks
from service.jobs.values import TimedPrompt, WeightedText


async def through_hooks(
    timeline: tuple[TimedPrompt, ...], hooks: PromptHooks, *, tenant: str, model: str
) -> tuple[tuple[TimedPrompt, ...], tuple[str, ...]]:
    """The timeline that the engine gets, and the notes for the journal. Raises ProtocolError."""
    if hooks.off:
        return timeline, ()
    said: list[TimedPrompt] = []
    notes: list[str] = []
    for index, entry in enumerate(timeline):
        previous = tuple(part.text for part in said[-1].prompts) if said else ()
        context = PromptContext(kind="job", tenant=tenant, model=model, previous=previous)
        texts = tuple(part.text for part in entry.prompts)
        fields = tuple(f"prompts.{index}" for _ in texts)
        judged = await hooks.apply(Asked(texts, fields, event_id=f"prompt-{index}"), context)
        parts = tuple(WeightedText(text, part.weight) for text, part in zip(judged.texts, entry.prompts, strict=True))
        said.append(replace(entry, prompts=parts))
        notes.extend(judged.notes)
    return tuple(said), tuple(notes)
