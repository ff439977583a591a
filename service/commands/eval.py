"""`longtake eval`: measures a preset by what applies to it, and writes a table, plots and contact sheets.

Knows the parts of `models.train.eval` by name; measures nothing itself. A run that was stopped goes on where it was
when it is given the same folder. The last line of stdout under --json is one JSON document.
"""

from collections.abc import Sequence
from pathlib import Path

import typer

from models.load import pick_device
from models.quantize import check_quantize
from models.train.eval.engines import Source
from models.train.eval.plots import check_plots, write_plots
from models.train.eval.report import PARTS, PRECISION, Report, Sizes, measure, parts_for
from models.train.eval.runner import Runner
from models.train.eval.sheets import write_sheets
from models.train.eval.tables import markdown_of
from service.commands.engine import load_options
from service.commands.options import EvalOptions, OptionError
from service.commands.vbench import export_clips, read_prompts

SHEETS = "sheets"
RECORDS = "records"


def run_eval(options: EvalOptions) -> None:
    """Check what was asked for, measure, and tell."""
    check(options)
    source = Source(
        preset=options.preset,
        options=load_options(options, options.settings),
        weights=options.weights,
        shift=options.shift,
    )
    source.resolve()
    if options.vbench is not None:
        prompts = read_prompts(options.vbench)
        export_clips(source, prompts, options=options)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    runner = Runner(source, options.out / RECORDS, jobs=options.jobs)
    report = _measured(runner, options)
    if report is not None and options.json:
        typer.echo(report.to_json())


def check(options: EvalOptions) -> None:
    """Raises OptionError for what cannot be right, ConfigError for an absent device or plots without means."""
    pick_device(options.device)
    for name, least in (("clips", 2), ("jobs", 1), ("seconds", 1), ("samples", 1)):
        if getattr(options, name) < least:
            message = f"expected at least {least}, not {getattr(options, name)}"
            raise OptionError(message, code="field_range", field=name)
    known = [part.name for part in PARTS] + [SHEETS]
    for name in options.only or ():
        if name not in known:
            message = f"expected parts out of {', '.join(known)}, not {name!r}"
            raise OptionError(message, code="field_choice", field="only")
    if options.weights is not None and not options.weights.is_file():
        raise FileNotFoundError(2, "expected a file of weights", str(options.weights))
    if options.plots and options.vbench is None:
        check_plots()


def _measured(runner: Runner, options: EvalOptions) -> Report | None:
    """Everything that was asked for, written down; None where that was the sheets alone."""
    only = options.only or []
    parts = parts_for(runner, [name for name in only if name != SHEETS]) if only != [SHEETS] else []
    if any(part.name == PRECISION for part in parts):
        # Said now, and not after an hour of other parts.
        check_quantize("int8", device=pick_device(options.device), dtype=runner.engine().parts.dtype)
    report = None
    if parts:
        sizes = Sizes(clips=options.clips, seconds=options.seconds)
        for report in measure(runner, sizes, parts=parts):
            write_report(report, options.out)
        assert report is not None, "there were parts"
        typer.echo(markdown_of(report), err=True)
        if options.plots:
            tell_of(write_plots(report, options.out))
    if not only or SHEETS in only:
        world = runner.source.draws_the_world
        tell_of(write_sheets(runner.engine(), options.out, world=world, seconds=options.seconds))
    return report


def write_report(report: Report, folder: Path) -> None:
    """The table, and the same as JSON."""
    (folder / "report.md").write_text(markdown_of(report), encoding="utf-8")
    (folder / "report.json").write_text(report.to_json() + "\n", encoding="utf-8")


def tell_of(paths: Sequence[Path]) -> None:
    """Where to look."""
    for path in paths:
        typer.echo(f"wrote {path}", err=True)
