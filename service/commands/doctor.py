"""`longtake doctor`: what serving a preset on this machine would run into, and what of it first.

Knows the terminal; what is looked at is in models/diagnosis.py. Invariant: the exit code is 0 only if nothing would
fail.
"""

import json
from itertools import chain
from typing import Never

import typer
from tqdm import tqdm

from models.adapters import parse_adapter
from models.diagnosis import Check, diagnose
from models.load import LoadOptions
from models.lossy import lossy_of
from models.presets import ModelFile
from models.speed import speed_of
from service.commands.failures import ExitCode
from service.commands.options import DoctorOptions
from service.commands.premises import premises
from service.commands.presets import NamedPreset, find_preset


def run_doctor(options: DoctorOptions) -> None:
    """Leaves with code 1 if something would fail. Raises PresetError or ConfigError."""
    found = find_preset(options.preset, options, settings=_settings(options))
    checks = []
    looked = diagnose(found.preset, as_served(found), sums=not options.quick, read=_Bars())
    for check in chain(looked, premises(found.config)):
        checks.append(check)
        for line in lines_of(check):
            typer.echo(line, err=options.json)
    first = next((check for check in checks if check.verdict == "fails"), None)
    said = "nothing would fail" if first is None else f"what would fail first: {first.name}: {first.details[0]}"
    typer.echo(said, err=options.json)
    if options.json:
        typer.echo(report(found.preset.name, checks))
    if first is not None:
        raise typer.Exit(ExitCode.FAILED)


def _settings(options: DoctorOptions) -> dict[str, object]:
    return {
        "device": options.device,
        "decoder": options.decoder,
        "quantize": options.quantize,
        "attention": options.attention,
        "memory_budget_bytes": options.memory_budget,
    }


def as_served(found: NamedPreset) -> LoadOptions:
    """How the service would load it. Raises ConfigError."""
    config = found.config
    return LoadOptions(
        device=config.device,
        kernel=config.attention,
        decoder=config.decoder,
        quantize=config.quantize,
        adapters=tuple(parse_adapter(text) for text in config.adapters),
        memory_budget_bytes=config.memory_budget_bytes,
        model_dir=found.model_dir,
        preset_dir=config.preset_dir,
        speed=speed_of(config),
        lossy=lossy_of(config),
    )


def lines_of(check: Check) -> list[str]:
    """A check for people."""
    first, *more = check.details or ("",)
    return [f"{check.verdict:<8}{check.name:<14}{first}".rstrip(), *(f"{'':<22}{line}" for line in more)]


def report(preset: str, checks: list[Check]) -> str:
    """All checks as one line of JSON."""
    first = next((check.name for check in checks if check.verdict == "fails"), None)
    listed = [{"name": check.name, "verdict": check.verdict, "details": list(check.details)} for check in checks]
    return json.dumps({"preset": preset, "ok": first is None, "first_failure": first, "checks": listed})


class _Bars:
    """A bar for each file whose sum is computed, on a terminal."""

    def __init__(self) -> None:
        self._file: ModelFile | None = None
        self._bar: tqdm[Never] | None = None

    def __call__(self, file: ModelFile, size: int) -> None:
        if self._bar is None or file != self._file:
            if self._bar is not None:
                self._bar.close()
            self._bar = tqdm(
                total=file.size, desc=f"checking {file.path}", unit="B", unit_scale=True, disable=None, leave=False
            )
            self._file = file
        self._bar.update(size)
