"""Prompts of live sessions on their way through the hooks, and what of it goes into the journal.

It knows messages, hubs and hooks; nothing of sockets or the engine. Invariants: what a hook changed or refused is in
the session's record, also where the session has not begun yet; a prompt that is refused changes nothing else.
"""

import json

from service.access.principal import Principal
from service.api.hub import SessionHub
from service.api.opening import Opening
from service.api.services import Services
from service.hooks import Asked, PromptContext, PromptHooks
from service.hooks.prompting import PromptRefused
from service.protocol.client import Prompted, SessionInteraction, SessionStart, WeightedPrompt


async def start_through_hooks(
    message: SessionStart, principal: Principal, *, hooks: PromptHooks
) -> tuple[SessionStart, tuple[str, ...]]:
    """The start that the engine gets, and the notes for its journal. Raises ProtocolError."""
    if hooks.off:
        return message, ()
    context = PromptContext(kind="session", tenant=principal.tenant, model=message.model)
    judged = await hooks.apply(_asked(message, message.event_id or ""), context)
    return message.model_copy(update=_prompts(message, judged.texts)), judged.notes


async def interaction_through_hooks(
    hub: SessionHub, message: SessionInteraction, *, services: Services
) -> tuple[SessionInteraction, tuple[str, ...]]:
    """What the engine gets, and notes for the journal. Raises ProtocolError; a refusal is noted already."""
    hooks = services.hooks
    if hooks.off:
        return message, ()
    previous = hub.interactions.latest
    context = PromptContext(kind="session", tenant=hub.principal.tenant, previous=previous)
    try:
        judged = await hooks.apply(_asked(message, message.event_id), context)
    except PromptRefused as error:
        await write_notes(hub, (error.note,))
        raise
    return message.model_copy(update=_prompts(message, judged.texts)), judged.notes


def latest_prompt(opening: Opening) -> tuple[str, ...]:
    """The texts of the prompt that a session begins, or goes on, with."""
    if opening.waiting:
        return tuple(prompt.text for prompt in opening.waiting[-1].prompts)
    for text in reversed(opening.course.events if opening.course else ()):
        event = json.loads(text)
        if event["type"] == "prompt":
            return tuple(str(part["text"]) for part in event["prompts"])
    return texts_of(opening.message)


def texts_of(message: Prompted) -> tuple[str, ...]:
    return tuple(prompt.text for prompt in message.weighted_prompts)


async def write_notes(hub: SessionHub, notes: tuple[str, ...]) -> None:
    """Into the session's record, or there as soon as it has one."""
    if hub.audience.started is None:
        hub.interactions.unwritten.extend(notes)
        return
    for note in notes:
        await hub.keeping.note(note)


def _asked(message: Prompted, event_id: str) -> Asked:
    texts = texts_of(message)
    return Asked(texts, tuple(message.prompt_field(index) for index in range(len(texts))), event_id)


def _prompts(message: Prompted, texts: tuple[str, ...]) -> dict[str, object]:
    """The message's prompt, said as it was said, in other words."""
    if message.prompts is None:
        return {"prompt": texts[0]}
    parts = zip(message.prompts, texts, strict=True)
    return {"prompts": tuple(WeightedPrompt(text=text, weight=part.weight) for part, text in parts)}
