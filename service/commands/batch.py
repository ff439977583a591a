"""`longtake batch`: a file of requests through a running service, into a folder of videos.

Turns options into what `client.batch_run` takes and its report into lines; knows nothing else. Exit codes: 0 if every
video came, 1 if one did not or the service was lost, 2 if the file was refused, 130 if it was interrupted; run again,
it goes on.
"""

import asyncio
import json
import sys
from pathlib import Path

import typer

from client.batch_folder import FolderOfAnother
from client.batch_run import BatchPlan, BatchReport, BatchRun
from client.http import Server
from client.recording import tell
from client.video_values import Video
from service.commands.failures import ExitCode
from service.commands.options import BatchOptions, OptionError

_WAIT_SECONDS = 90.0


def run_batch(options: BatchOptions) -> None:
    plan = plan_of(options)
    server = Server(options.url, options.api_key, _WAIT_SECONDS)
    try:
        report = asyncio.run(BatchRun(server, plan, told=_say if options.json else None).run())
    except FolderOfAnother as error:
        raise OptionError(str(error), code="batch_invalid", field="out") from error
    _conclude(report, plan, options)


def plan_of(options: BatchOptions) -> BatchPlan:
    """Raises OptionError, OSError."""
    if options.file == Path("-") and options.out is None:
        raise OptionError("expected --out, as the file has no name", code="field_missing", field="out")
    lines = sys.stdin.buffer.read() if options.file == Path("-") else options.file.read_bytes()
    out = options.out or options.file.with_suffix("")
    if out == options.file:
        out = options.file.with_name(f"{options.file.name}.out")
    return BatchPlan(
        lines=lines,
        folder=out,
        name=options.name,
        priority=options.priority,
        wait=not options.no_wait,
        cancel=options.cancel,
        progress=not options.json,
    )


def _conclude(report: BatchReport, plan: BatchPlan, options: BatchOptions) -> None:
    batch, counts = report.batch, dict(report.batch.counts)
    if options.json:
        said = {"batch": batch.id, "status": batch.status, "counts": counts, "failed": report.failed}
        typer.echo(json.dumps(said | {"files": [str(path) for path in report.files]}))
    else:
        for name, code in report.failed.items():
            tell(f"{name}: {code}")
        tell(f"{batch.id}: {batch.status}; {len(report.files)} of {counts['total']} videos are in {plan.folder}")
    if report.failed:
        raise typer.Exit(ExitCode.FAILED)


def _say(video: Video) -> None:
    typer.echo(json.dumps(video.answer))
