"""The prompts of a job as they go to the engine: when each is given, and which it has had already.

Knows the timeline, frames and event ids; nothing of the engine or of when it makes a block. Invariants: a prompt is
given before the block is begun that it belongs to, and never one that took effect before; no more are on their way at
once than the engine lets wait.
"""

import json
from collections.abc import Iterable

from service import ipc
from service.jobs.values import JobRequest, TimedPrompt

MOST_IN_A_SECOND = 4
_PREFIX = "prompt-"


class Script:
    """`events`: the journal of what was made before, as JSON texts."""

    def __init__(self, request: JobRequest, *, session: str, events: Iterable[str] = ()) -> None:
        self._session = session
        self._timeline = request.timeline
        self._next = 1 + max((number for text in events if (number := _number_of(text)) is not None), default=0)

    @property
    def first(self) -> tuple[ipc.Prompt, ...]:
        return _prompts(self._timeline[0])

    def due(self, seconds: float) -> list[ipc.Interact]:
        """What has not been given yet and belongs to blocks that begin before this second of the video."""
        given = []
        while self._next < len(self._timeline) and self._timeline[self._next].at <= seconds:
            given.append(_interaction(self._timeline[self._next], self._next, session=self._session))
            self._next += 1
        return given


def event_id(number: int) -> str:
    """Of the timeline's entry with this number."""
    return f"{_PREFIX}{number}"


def title_of(request: JobRequest, event: str) -> str | None:
    """What the entry with this event id shows, in one line; None where it is none of the timeline's."""
    number = _number(event)
    if number is None or number >= len(request.timeline):
        return None
    return " + ".join(prompt.text for prompt in request.timeline[number].prompts)


def prompt_starts(
    request: JobRequest, events: Iterable[str], *, begins: tuple[int, ...], fps: float, until: int
) -> tuple[tuple[float, str], ...]:
    """At which second of the video each prompt took effect, and its text. `begins`: the first frame of each block.

    Those from frame `until` on are not in it.
    """
    starts = []
    for place, text in enumerate(events):
        document = json.loads(text)
        # The engine knows what a video begins with by its place alone.
        title = title_of(request, str(document.get("event_id", "")) if place else event_id(0))
        begin = begins[document["block"]] if document["block"] < len(begins) else until
        if title is not None and begin < until:
            starts.append((begin / fps, title))
    return tuple(starts)


def _interaction(entry: TimedPrompt, number: int, *, session: str) -> ipc.Interact:
    return ipc.Interact(
        session=session,
        event_id=event_id(number),
        prompts=_prompts(entry),
        mode=entry.mode,
        sink=entry.sink,
        transition_chunks=entry.transition_chunks,
        at=entry.at,
    )


def _prompts(entry: TimedPrompt) -> tuple[ipc.Prompt, ...]:
    return tuple(ipc.Prompt(prompt.text, prompt.weight) for prompt in entry.prompts)


def _number_of(text: str) -> int | None:
    return _number(str(json.loads(text).get("event_id", "")))


def _number(event: str) -> int | None:
    digits = event.removeprefix(_PREFIX)
    return int(digits) if event.startswith(_PREFIX) and digits.isdecimal() else None
