"""`longtake stream`: a video through a running service, with the options of `generate`.

Turns options into what `client.stream` takes and its report into a line; knows nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

import typer

from client.connection import ClientOptions
from client.errors import TakeEndedEarly
from client.recording import TakeFiles, tell
from client.report import StreamReport
from client.requests import Adapter, Delivery, Media, Model, Prompt, PromptChange, start_message
from client.stream import JournalPrompt, Schedule
from client.stream import StreamOptions as ClientTake
from client.stream import run as run_take
from models.journal import AdapterChoice, Journal, PromptEvent, Timeline
from service.commands.options import OPENING_NOTE, OptionError, StreamOptions, parse_timed_prompts
from service.commands.script import length_of, read_journal
from service.protocol.client import MediaFormat, Pacing, PromptMode, SinkPolicy, SlowConsumer, WeightedPrompt


def run_stream(options: StreamOptions) -> None:
    """Check what was asked for, and film. The server's own checks come back as errors with their codes."""
    take = take_of(options)
    check_start(take)
    try:
        _say(run_take(take), options)
    except TakeEndedEarly as early:
        _say(early.report, options)
        raise


def _say(report: StreamReport, options: StreamOptions) -> None:
    if options.json:
        typer.echo(report.to_json())


def take_of(options: StreamOptions) -> ClientTake:
    """The same take in the client's words. What the words mean is checked by the protocol, not here."""
    if options.schedule not in ("client", "server"):
        raise OptionError(f"expected client or server, not {options.schedule!r}", code="field_choice", field="schedule")
    changes = tuple(
        PromptChange(
            timed.prompt,
            mode=cast(PromptMode, options.mode),
            sink=cast(SinkPolicy, options.sink),
            transition_chunks=options.transition,
            at=timed.seconds,
        )
        for timed in parse_timed_prompts(options.at or ())
    )
    begin = beginning_of(options)
    return ClientTake(
        prompt=begin.prompt,
        seconds=length_of(options),
        url=options.url,
        prompts=changes,
        schedule=cast(Schedule, options.schedule),
        model=begin.model,
        seed=begin.seed,
        delivery=Delivery(slow_consumer=cast(SlowConsumer, options.slow_consumer), buffer_seconds=options.buffer),
        replayed=begin.replayed,
        resume=options.resume,
        media=Media(format=cast(MediaFormat, options.format), quality=options.quality, picture=picture_of(options)),
        pacing=cast(Pacing, options.pacing),
        client=ClientOptions(api_key=options.api_key),
        show=options.show,
        files=TakeFiles(video=options.out, hashes=options.sha256, journal=options.save_journal),
    )


def picture_of(options: StreamOptions) -> Path | None:
    """The file that a new session begins with, if any. Raises OptionError, OSError."""
    if options.picture is None:
        return None
    for name in ("journal", "resume"):
        if getattr(options, name) is not None:
            message = f"expected no --picture beside --{name}: a new session begins with it"
            raise OptionError(message, code="opening_conflict", field="picture")
    if not options.picture.is_file():
        raise FileNotFoundError(2, "no such file", str(options.picture))
    tell(OPENING_NOTE)
    return options.picture


_SAID_BY = MappingProxyType({"journal": ("at", "seed", "adapter"), "resume": ("adapter",)})
"""What says how a take begins, and the options that it leaves no place for."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a take begins; without a prompt where it goes on with a session."""

    prompt: Prompt | None
    model: str | Model
    seed: int | None
    replayed: tuple[JournalPrompt, ...] = ()


def beginning_of(options: StreamOptions) -> Beginning:
    """From the prompt, the journal or the session that was given: one of them. Raises OptionError."""
    given = [name for name in ("prompt", "journal", "resume") if getattr(options, name) is not None]
    if not given:
        raise OptionError("expected a prompt to begin with", code="prompt_missing", field="prompt")
    beside = given[1:] + [name for name in _SAID_BY.get(given[0], ()) if getattr(options, name)]
    if beside:
        message = f"expected no --{beside[0]} beside --{given[0]}, which says it"
        raise OptionError(message, code="prompt_conflict", field=beside[0])
    if options.journal is not None:
        return _from_journal(read_journal(options.journal))
    adapters = tuple(parse_adapter(text) for text in options.adapter or ())
    return Beginning(options.prompt, Model(options.preset, adapters) if adapters else options.preset, options.seed)


def parse_adapter(text: str) -> Adapter:
    """`NAME` or `NAME:SCALE`. Raises OptionError."""
    name, colon, scale = text.partition(":")
    try:
        return Adapter(name.strip(), float(scale) if colon else 1.0)
    except ValueError:
        message = f"expected NAME or NAME:SCALE, not {text!r}"
        raise OptionError(message, code="field_type", field="adapter") from None


def _from_journal(journal: Journal) -> Beginning:
    """Its prompts at their blocks. What was taken back is left out; a take of its own cannot be asked for."""
    first, *later = Timeline.of(journal.events).events
    assert isinstance(first, PromptEvent), "a journal begins with a prompt"
    replayed: list[JournalPrompt] = []
    cuts = 0
    for event in later:
        if not isinstance(event, PromptEvent):
            message = f"a service makes no video from a journal with a {type(event).__name__}; use longtake generate"
            raise OptionError(message, code="prompt_conflict", field="journal")
        change = PromptChange(
            _weighted(event),
            mode=event.mode,
            sink=event.sink,
            transition_chunks=event.transition_chunks,
            adapters=_adapters(event.adapters),
        )
        replayed.append(JournalPrompt(change, event.block, cuts, f"prompt-{len(replayed) + 1}"))
        cuts += event.mode == "cut"
    model = journal.model if first.adapters is None else Model(journal.model, _adapters(first.adapters))
    return Beginning(_weighted(first), model, journal.seed, tuple(replayed))


def _adapters(chosen: Sequence[AdapterChoice] | None) -> tuple[Adapter, ...] | None:
    return None if chosen is None else tuple(Adapter(choice.name, choice.scale) for choice in chosen)


def _weighted(event: PromptEvent) -> list[WeightedPrompt]:
    return [WeightedPrompt(text=prompt.text, weight=prompt.weight) for prompt in event.prompts]


def check_start(take: ClientTake) -> None:
    """Say what is wrong with the first message before anybody is called. Raises ProtocolError."""
    if take.prompt is None:
        return
    start_message(
        take.prompt,
        model=take.model,
        seed=take.seed,
        media=take.media,
        pacing=take.pacing,
        max_seconds=take.seconds,
        delivery=take.delivery,
    )
