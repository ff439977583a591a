"""`longtake stream`: a video through a running service, with the options of `generate`.

Turns options into what `client.stream` takes and its report into a line; knows nothing else.
"""

from typing import cast

import typer

from client.errors import TakeEndedEarly
from client.recording import TakeFiles
from client.report import StreamReport
from client.requests import Media, PromptChange, start_message
from client.stream import Schedule
from client.stream import StreamOptions as ClientTake
from client.stream import run as run_take
from service.commands.options import OptionError, StreamOptions, parse_timed_prompts
from service.commands.script import length_of
from service.protocol.client import MediaFormat, Pacing, PromptMode, SinkPolicy


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
    if options.prompt is None:
        raise OptionError("expected a prompt to begin with", code="prompt_missing", field="prompt")
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
    return ClientTake(
        prompt=options.prompt,
        seconds=length_of(options),
        url=options.url,
        prompts=changes,
        schedule=cast(Schedule, options.schedule),
        model=options.preset,
        seed=options.seed,
        media=Media(format=cast(MediaFormat, options.format), quality=options.quality),
        pacing=cast(Pacing, options.pacing),
        files=TakeFiles(video=options.out, hashes=options.sha256, journal=options.save_journal),
    )


def check_start(take: ClientTake) -> None:
    """Say what is wrong with the first message before anybody is called. Raises ProtocolError."""
    start_message(
        take.prompt,
        model=take.model,
        seed=take.seed,
        media=take.media,
        pacing=take.pacing,
        max_seconds=take.seconds,
    )
