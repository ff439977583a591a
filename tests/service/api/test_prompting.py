"""Hooks over live sessions: what the engine gets, what the journal has, and what is refused."""

import json
from pathlib import Path

from service.config import ServiceConfig
from service.errors import ErrorCode
from service.protocol.client import SessionInteraction, SessionStart, WeightedPrompt
from service.protocol.server import ChunkMetadata, InteractionApplied, InteractionQueued, VideoStart
from tests.service.api.running import FAST, Running, running

BEGINNING = "a red ball rests over the sea at sunset"


def with_hooks(folder: Path) -> ServiceConfig:
    words = folder / "words"
    words.write_text("gun\n")
    hooks = {"prompt_enhancer": "fill", "content_policy": "words", "policy_words_file": words}
    return FAST.model_copy(update=hooks)


async def notes(service: Running, session: str) -> list[dict[str, object]]:
    texts = await service.store.journal(session)
    return [note for note in map(json.loads, texts) if str(note["type"]).startswith("prompt_")]


async def heard_by_engine(service: Running, session: str) -> list[str]:
    """The engine's own events come with its chunks, and are stored before these are sent."""
    events = [json.loads(text) for text in await service.store.journal(session)]
    return [event["prompts"][0]["text"] for event in events if event["type"] == "prompt"]


async def test_a_prompt_is_completed_and_both_are_in_the_journal(tmp_path: Path) -> None:
    async with running(with_hooks(tmp_path)) as service, service.connection() as talk:
        await talk.say(SessionStart(prompt=BEGINNING, pacing="none"))
        heard = await talk.hear_until(ChunkMetadata)
        session = next(item.message.session_id for item in heard if isinstance(item.message, VideoStart))
        change = SessionInteraction(event_id="e1", prompt="it bounces in the snow")
        await talk.say(change)
        await talk.hear_until(InteractionApplied)
        await talk.say(change)
        await talk.hear_until(InteractionQueued)
        await talk.say(SessionInteraction(event_id="e2", prompts=(WeightedPrompt(text="it sways", weight=2.0),)))
        await talk.hear_until(InteractionApplied)
        await talk.hear_until(ChunkMetadata)
        assert [(note["type"], note.get("event_id")) for note in await notes(service, session)] == [
            ("prompt_allowed", None),
            ("prompt_enhanced", "e1"),
            ("prompt_allowed", "e1"),
            ("prompt_enhanced", "e2"),
            ("prompt_allowed", "e2"),
        ]
        said = await heard_by_engine(service, session)
        assert said == [BEGINNING, "a red ball bounces in the snow at sunset", "a red ball sways in the snow at sunset"]


async def test_a_refused_prompt_changes_nothing(tmp_path: Path) -> None:
    async with running(with_hooks(tmp_path)) as service, service.connection() as talk:
        await talk.say(SessionStart(prompt="a gun on a table"))
        error = await talk.error()
        assert (error.code, error.fatal, error.field) == (ErrorCode.POLICY_REFUSED, False, "prompt")
        assert service.worker.worker.sessions == {}
        await talk.say(SessionStart(prompt=BEGINNING, pacing="none"))
        heard = await talk.hear_until(ChunkMetadata)
        session = next(item.message.session_id for item in heard if isinstance(item.message, VideoStart))
        await talk.say(SessionInteraction(event_id="e1", prompt="it becomes a GUN"))
        error = await talk.error()
        assert (error.code, error.fatal, error.event_id) == (ErrorCode.POLICY_REFUSED, False, "e1")
        await talk.say(SessionInteraction(event_id="e1", prompt="it bounces"))
        await talk.hear_until(InteractionApplied)
        await talk.hear_until(ChunkMetadata)
        found = await notes(service, session)
        assert [note["type"] for note in found] == [
            "prompt_allowed",
            "prompt_refused",
            "prompt_enhanced",
            "prompt_allowed",
        ]
        assert (found[1]["rule"], found[1]["by"]) == ("line 1", "words")
        said = await heard_by_engine(service, session)
        assert said == [BEGINNING, "a red ball bounces over the sea at sunset"]
