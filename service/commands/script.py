"""What is asked of a take, read from the options of a command and checked before anything is loaded.

Knows prompts and times; nothing of engines, blocks or files beyond a journal's text. Invariant: cues are in order of
time, and of the command line where the times are equal.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from models.journal import Journal, PromptEvent, WeightedPrompt, check_event
from service.commands.options import OptionError, TakeOptions, parse_timed_prompts

DEFAULT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Cue:
    """A prompt change and the time of the video at which it takes effect."""

    seconds: float
    event: PromptEvent


@dataclass(frozen=True, slots=True)
class Script:
    """What is asked for: the stream's first prompt and seed, and the cues in order of time."""

    first: PromptEvent
    cues: tuple[Cue, ...]
    seed: int


def script_of(options: TakeOptions) -> Script:
    """The script of prompts on the command line. Raises OptionError, or what the engine says of a prompt."""
    if options.prompt is None:
        raise OptionError("expected a prompt to begin with", code="prompt_missing", field="prompt")
    first = _event(options, options.prompt, event_id="prompt-0")
    cues = tuple(
        Cue(timed.seconds, _event(options, timed.prompt, event_id=f"prompt-{number}"))
        for number, timed in enumerate(parse_timed_prompts(options.at or ()), start=1)
    )
    return Script(first, cues, secrets.randbelow(2**32) if options.seed is None else options.seed)


def _event(options: TakeOptions, prompt: str, *, event_id: str) -> PromptEvent:
    event = PromptEvent(
        block=0,
        prompts=(WeightedPrompt(prompt),),
        mode=options.mode,  # type: ignore[arg-type]  # check_event says what the words are
        sink=options.sink,  # type: ignore[arg-type]
        transition_chunks=options.transition,
        event_id=event_id,
    )
    check_event(event)
    return event


def read_journal(path: Path) -> Journal:
    """Raises OSError, or RestoreError for a file that is not a journal."""
    return Journal.from_json(path.read_text(encoding="utf-8"))


def length_of(options: TakeOptions) -> float:
    """Seconds of video that are asked for."""
    seconds = DEFAULT_SECONDS if options.seconds is None else options.seconds
    if not 0 < seconds < float("inf"):
        raise OptionError(f"expected seconds above 0, not {seconds}", code="field_range", field="seconds")
    return seconds
