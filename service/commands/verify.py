"""`longtake verify`: whether a preset computes on this machine what it should, as it would be served.

Knows the terminal; what is compared with what is in models/verify.py. Invariant: the exit code is 0 only if every check
passed, and each check says how far apart its two sides were, passed or not.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import typer

from models.generator import Generator
from models.verify import Finding, verify
from service.commands.engine import load_engine
from service.commands.failures import ExitCode
from service.commands.machine import machine_facts
from service.commands.options import OptionError, VerifyOptions

OWN_REFERENCE: Final = Path(__file__).parent.parent.parent / "tests" / "reference" / "data"
"""Where the published code's tensors lie in a checkout; an installed package has none."""


def run_verify(options: VerifyOptions) -> None:
    """Leaves with code 1 if a check did not pass. Raises EngineError, ConfigError or OptionError."""
    reference = reference_folder(options.reference)
    generator = load_engine(options.preset, options, settings=options.settings)
    facts = generator.facts()
    typer.echo(f"{facts.model} on {facts.device} in {facts.dtype}, attention {facts.attention}", err=options.json)
    if reference is None:
        typer.echo("no tensors of the published code here: --reference names a folder of them", err=options.json)
    findings = []
    for finding in verify(generator, blocks=options.blocks, reference=reference):
        typer.echo(line_of(finding), err=options.json)
        findings.append(finding)
    failed = [finding.name for finding in findings if not finding.passed]
    typer.echo(f"not as it should be: {', '.join(failed)}" if failed else "all is as it should be", err=options.json)
    if options.json:
        typer.echo(report(generator, findings))
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def reference_folder(asked: Path | None) -> Path | None:
    """Raises OptionError for one that is asked for and not there."""
    if asked is not None:
        if not asked.is_dir():
            raise OptionError(f"expected a folder, {asked} is none", code="folder_missing", field="reference")
        return asked
    return OWN_REFERENCE if OWN_REFERENCE.is_dir() else None


def line_of(finding: Finding) -> str:
    """A check for people."""
    verdict = "ok" if finding.passed else "FAILS"
    return f"{verdict:<7}{finding.name:<42}{finding.deviation:>10.3g}  limit {finding.limit:<8.3g}{finding.note}"


def report(generator: Generator, findings: Sequence[Finding]) -> str:
    """All checks as one line of JSON."""
    listed = [{**asdict(finding), "passed": finding.passed} for finding in findings]
    whole = {
        "preset": generator.preset.name,
        "passed": all(finding.passed for finding in findings),
        "checks": listed,
        "engine": asdict(generator.facts()),
        "machine": asdict(machine_facts()),
    }
    return json.dumps(whole)
