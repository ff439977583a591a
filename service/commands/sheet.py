"""`longtake sheet`: the stills of a video on one picture.

Turns options into what `client.sheet` takes; knows nothing else. Invariant: a file that is no video is refused.
"""

import json
from dataclasses import asdict

import typer

from client.sheet import SheetError, make_sheet
from service.commands.looking_options import SheetOptions
from service.commands.options import OptionError


def run_sheet(options: SheetOptions) -> None:
    """Raises OptionError, OSError."""
    for name in ("columns", "stills", "width"):
        if getattr(options, name) < 1:
            raise OptionError(f"expected at least 1, not {getattr(options, name)}", code="field_range", field=name)
    out = options.out or options.video.with_suffix(".jpg")
    if out.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        raise OptionError(f"expected a .jpg, .png or .webp, not {out.name!r}", code="field_choice", field="out")
    try:
        facts = make_sheet(options.video, out, columns=options.columns, stills=options.stills, width=options.width)
    except SheetError as error:
        raise OptionError(str(error), code="media_invalid", field="video") from error
    typer.echo(f"{out}: {facts.stills} stills of {facts.frames} frames, {facts.chapters} chapters", err=True)
    if options.json:
        typer.echo(json.dumps({"out": str(out), **asdict(facts)}))
