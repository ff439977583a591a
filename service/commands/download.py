"""`longtake download`: the licence is shown and agreed to, then the files of a preset come into the model folder.

Knows the terminal; what is fetched from where and how it is checked is in models/download.py. Invariant: nothing is
fetched or copied under a licence that was not agreed to where one has to be.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

import typer
from tqdm import tqdm

from models.download import Fetched, FetchOptions, FileProgress, fetch_preset
from models.licences import accept, accepted, require_accepted
from models.presets import Licence, Preset
from service.commands.options import DownloadOptions, OptionError
from service.commands.presets import find_preset


def run_download(options: DownloadOptions) -> None:
    """Raises PresetError or WeightsError for a file that cannot be had or is another, OptionError for no folder."""
    if options.source is not None and not options.source.is_dir():
        raise OptionError(f"expected a folder, {options.source} is none", code="folder_missing", field="from")
    found = find_preset(options.preset, options)
    preset, model_dir = found.preset, found.model_dir
    if not preset.files:
        typer.echo(f"{preset.name} comes with this package: there is nothing to fetch", err=True)
        return
    _agree(preset, model_dir, given=options.accept_licence)
    chosen = FetchOptions(source=options.source, offline=options.offline)
    with _bar() as progress:
        done = []
        for fetched in fetch_preset(preset, model_dir, options=chosen, progress=progress):
            progress.close()
            typer.echo(_line(fetched), err=True)
            done.append(fetched)
    typer.echo(f"{preset.name}: all {len(done)} files are in {model_dir}", err=True)
    if options.json:
        typer.echo(_summary(preset, model_dir, done))


def _agree(preset: Preset, model_dir: Path, *, given: bool) -> None:
    """Show the licence; ask for it where there is somebody to ask and it was not agreed to before."""
    for line in licence_lines(preset):
        typer.echo(line, err=True)
    if accepted(preset.licence, model_dir):
        return
    if given or (sys.stdin.isatty() and typer.confirm("Do you agree to this licence?", err=True)):
        accept(preset.licence, model_dir)
    require_accepted(preset, model_dir)


def licence_lines(preset: Preset) -> Iterator[str]:
    """What the weights of a preset may be used for."""
    yield f"{preset.name} ({preset.title})"
    yield f"  {_described(preset.licence)}"
    for other in sorted({file.licence for file in preset.files if file.licence}):
        names = ", ".join(file.name for file in preset.files if file.licence == other)
        yield f"  {other}: {names}"


def _described(licence: Licence) -> str:
    use = "any use" if licence.commercial else "non-commercial use only"
    return f"{licence.name}, {use}: {licence.url}"


@contextmanager
def _bar() -> Iterator["_Bar"]:
    bar = _Bar()
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    """One bar for each thing that is done to a file, on a terminal."""

    def __init__(self) -> None:
        self._bar: tqdm[Never] | None = None
        self._of: tuple[str, str] | None = None

    def __call__(self, progress: FileProgress) -> None:
        of = (progress.file.name, progress.doing)
        if self._bar is None or of != self._of:
            self.close()
            label = f"{progress.doing} {progress.file.path}"
            self._bar = tqdm(
                total=progress.total_bytes, desc=label, unit="B", unit_scale=True, unit_divisor=1024, disable=None
            )
            self._of = of
        self._bar.update(progress.done_bytes - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def _line(fetched: Fetched) -> str:
    known = "sum as expected" if fetched.file.sha256 is not None else f"sha256 {fetched.sha256}"
    return f"{fetched.outcome:<10} {fetched.file.name}: {known}"


def _summary(preset: Preset, model_dir: Path, done: list[Fetched]) -> str:
    files = [
        {
            "name": fetched.file.name,
            "role": fetched.file.role,
            "path": str(fetched.file.location(model_dir)),
            "outcome": fetched.outcome,
            "sha256": fetched.sha256,
        }
        for fetched in done
    ]
    return json.dumps({"preset": preset.name, "model_dir": str(model_dir), "files": files})
