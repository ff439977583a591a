"""Both hooks over one prompt: the policy, the enhancer, and the policy again for what it made.

It knows the interface of hooks; nothing of sessions, jobs or the wire. Invariants: a prompt that the policy refuses
goes nowhere; a hook that fails, or takes too long, refuses too: it never lets through; without hooks a prompt comes out
as it came, and nothing is noted.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from service.errors import ErrorCode, ProtocolError
from service.hooks.values import Asked, ContentPolicy, Judged, PromptContext, PromptEnhancer

logger = logging.getLogger(__name__)

T = TypeVar("T")

ENHANCED = "prompt_enhanced"
ALLOWED = "prompt_allowed"
REFUSED = "prompt_refused"


class PromptRefused(ProtocolError):
    """The policy refuses a prompt. `note` is what the journal of a session that goes on should have of it."""

    def __init__(self, message: str, *, field: str, event_id: str, note: str) -> None:
        super().__init__(ErrorCode.POLICY_REFUSED, message, field=field, event_id=event_id)
        self.note = note


def nobody_counts(outcome: str) -> None:
    """Where there are no metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptHooks:
    """None is a hook that is off. `timeout` and `most_chars` bound what one may do; `counted` hears of each prompt."""

    enhancer: PromptEnhancer | None = None
    policy: ContentPolicy | None = None
    timeout: float = 5.0
    most_chars: int = 2000
    counted: Callable[[str], None] = nobody_counts

    @property
    def off(self) -> bool:
        return self.enhancer is None and self.policy is None

    async def apply(self, asked: Asked, context: PromptContext) -> Judged:
        """What the engine gets of a prompt. Raises PromptRefused, or ProtocolError with the code `hook_failed`."""
        if self.off:
            return Judged(asked.texts)
        try:
            judged = await self._apply(asked, context)
        except ProtocolError as error:
            self.counted("refused" if isinstance(error, PromptRefused) else "failed")
            raise
        self.counted("allowed")
        return judged

    async def _apply(self, asked: Asked, context: PromptContext) -> Judged:
        texts, notes = [], []
        for text, field in zip(asked.texts, asked.fields, strict=True):
            await self._judge(text, context, asked=asked, field=field)
            enhanced = await self._enhance(text, context, field=field)
            if enhanced != text:
                assert self.enhancer is not None
                await self._judge(enhanced, context, asked=asked, field=field)
                said = {"by": self.enhancer.name, "prompt": text, "enhanced": enhanced}
                notes.append(_note(ENHANCED, asked.event_id, said))
            texts.append(enhanced)
        if self.policy is not None:
            notes.append(_note(ALLOWED, asked.event_id, {"by": self.policy.name, "prompts": texts}))
        return Judged(tuple(texts), tuple(notes))

    async def _enhance(self, text: str, context: PromptContext, *, field: str) -> str:
        if self.enhancer is None:
            return text
        enhanced = await self._ask(self.enhancer.name, self.enhancer.enhance(text, context), field=field)
        if not enhanced.strip() or len(enhanced) > self.most_chars:
            logger.warning("the enhancer %s made %d characters of a prompt", self.enhancer.name, len(enhanced))
            return text
        return enhanced

    async def _judge(self, text: str, context: PromptContext, *, asked: Asked, field: str) -> None:
        if self.policy is None:
            return
        verdict = await self._ask(self.policy.name, self.policy.judge(text, context), field=field)
        if not verdict.allowed:
            said = {"by": self.policy.name, "prompt": text, "rule": verdict.rule}
            note = _note(REFUSED, asked.event_id, said)
            reason = verdict.reason or "The server's content policy does not allow this prompt."
            raise PromptRefused(reason, field=field, event_id=asked.event_id, note=note)

    async def _ask(self, name: str, answer: Awaitable[T], *, field: str) -> T:
        try:
            async with asyncio.timeout(self.timeout):
                return await answer
        except (TimeoutError, OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
            logger.error("the hook %s failed: %s", name, type(error).__name__, exc_info=error)
            message = f"The hook {name} does not answer."
            raise ProtocolError(ErrorCode.HOOK_FAILED, message, field=field) from error


def _note(kind: str, event_id: str, said: Mapping[str, object]) -> str:
    named = {"event_id": event_id} if event_id else {}
    return json.dumps({"type": kind, **named, **said}, ensure_ascii=False)
