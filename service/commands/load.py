"""`longtake load`: many sessions on a running service at once, and how it held.

Turns options into what `client.load` takes and its report into lines; knows nothing else.
"""

from typing import cast

import typer

from client.connection import ClientOptions
from client.load import LoadOptions as Load
from client.load import run as run_sessions
from client.load_report import LoadReport, Percentiles
from service.commands.options import LoadOptions, OptionError
from service.protocol.client import Pacing, PromptMode


def run_load(options: LoadOptions) -> None:
    report = run_sessions(load_of(options))
    for line in lines_of(report):
        typer.echo(line, err=options.json)
    if options.json:
        typer.echo(report.to_json())


def load_of(options: LoadOptions) -> Load:
    """The same load in the client's words. Raises OptionError."""
    if options.sessions < 1:
        raise OptionError(f"expected sessions from 1 on, not {options.sessions}", code="field_range", field="sessions")
    for name, value in (("seconds", options.seconds), ("switch_every", options.switch_every)):
        if value is not None and not 0 < value < float("inf"):
            raise OptionError(f"expected {name} above 0, not {value}", code="field_range", field=name)
    if options.pacing not in ("realtime", "none"):
        raise OptionError(f"expected realtime or none, not {options.pacing!r}", code="field_choice", field="pacing")
    if options.mode not in ("recache", "flush", "cut", "keep"):
        raise OptionError(
            f"expected recache, flush, cut or keep, not {options.mode!r}", code="field_choice", field="mode"
        )
    return Load(
        sessions=options.sessions,
        seconds=options.seconds,
        url=options.url,
        pacing=cast(Pacing, options.pacing),
        switch_every=options.switch_every,
        mode=cast(PromptMode, options.mode),
        model=options.preset,
        client=ClientOptions(api_key=options.api_key),
    )


def lines_of(report: LoadReport) -> list[str]:
    """The report for people."""
    refused = "".join(f", {number} refused ({code})" for code, number in report.refused.items())
    failed = "".join(f", {number} failed ({code})" for code, number in report.failed.items())
    rows = (
        ("first frame, ms", report.first_frame_ms),
        ("chunk gap, ms", report.chunk_gap_ms),
        ("switch queued, ms", report.switch_queued_ms),
        ("switch applied, ms", report.switch_applied_ms),
        ("switch received, ms", report.switch_received_ms),
        ("frames a second", report.fps),
    )
    return [
        f"{report.sessions} sessions: {report.completed} completed{refused}{failed}",
        f"{report.frames} frames in {report.chunks} chunks, {report.fps_total:.1f} frames a second in all; "
        f"{report.missing} missing, {report.duplicated} duplicated, {report.underruns} underruns",
        f"{report.switches} prompts sent, {report.switches_received} received",
        f"{'':22}{'count':>8}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}",
        *(_row(name, values) for name, values in rows),
    ]


def _row(name: str, values: Percentiles) -> str:
    figures = (values.p50, values.p95, values.p99, values.max)
    return f"{name:22}{values.count:>8}" + "".join(f"{'-' if x is None else format(x, '.1f'):>10}" for x in figures)
