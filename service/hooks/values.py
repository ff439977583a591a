"""The interface of hooks: what they are told of a prompt, and what they answer.

Types only. Invariants: a hook runs in the web's process and must not block it (a slow one belongs into
`asyncio.to_thread`, or behind a socket); it sees texts and never pixels; what it answers is written into the journal.
"""

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptContext:
    """Where a prompt stands.

    Args:
        kind: a prompt of a live session or of a job.
        tenant: whose it is.
        model: the preset, "" where the service's own is meant.
        previous: the texts of the prompt before it, as the engine has them; empty for the first of a video.
    """

    kind: Literal["session", "job"]
    tenant: str
    model: str = ""
    previous: tuple[str, ...] = ()


class PromptEnhancer(Protocol):
    """Completes prompts. The engine gets what it answers; the client's own words stay in the journal beside it."""

    @property
    def name(self) -> str:
        """What the journal calls it."""

    async def enhance(self, text: str, context: PromptContext) -> str:
        """The prompt as it should be; the text itself where there is nothing to complete."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rule` says in the journal which rule it was; `reason` is told to the client."""

    allowed: bool
    reason: str = ""
    rule: str = ""


class ContentPolicy(Protocol):
    """Refuses prompts. It is asked about what the client said and about what the enhancer made of it."""

    @property
    def name(self) -> str:
        """What the journal calls it."""

    async def judge(self, text: str, context: PromptContext) -> Verdict:
        """Whether the prompt may be used."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The texts of one prompt, one for each part of a blend, and where each stands in the client's message."""

    texts: tuple[str, ...]
    fields: tuple[str, ...]
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """The texts that the engine gets, and the notes for the journal: JSON objects with a `type`."""

    texts: tuple[str, ...]
    notes: tuple[str, ...] = ()
