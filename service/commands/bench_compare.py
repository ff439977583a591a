"""Two runs of `longtake bench` beside each other, and one run as a picture of characters.

Knows the documents by their names of figures alone, so that an older one can be read too. Measures nothing.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from service.commands.options import OptionError

BETTER: Final = {
    "frames_per_second": "more",
    "transformer_frames_per_second": "more",
    "matrix_share": "more",
    "outside_products": "less",
    "first_chunk_ms": "less",
    "load_seconds": "less",
    "peak_bytes": "less",
}
BAR: Final = 40


def read_document(path: Path) -> dict[str, Any]:
    """The last line of a file that holds a run's output. Raises OptionError, or OSError where there is no file."""
    lines = path.read_text("utf-8").splitlines()
    try:
        document = json.loads(lines[-1]) if lines else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("stages"), dict):
        message = f"expected a file that ends in the document of `longtake bench --json`, {path} does not"
        raise OptionError(message, code="field_type", field="compare")
    return document


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Figure by figure: what it was, what it is, and how many times as good."""
    lines = [f"{'compared':<34}{'before':>14}{'now':>14}{'gain':>8}"]
    for name, before, now, gain in _pairs(old, new):
        lines.append(f"{name:<34}{before:>14.3f}{now:>14.3f}{gain:>7.2f}x")
    differing = [name for name in ("preset", "width", "height", "speed") if old.get(name) != new.get(name)]
    if old.get("machine", {}).get("cpu") != new.get("machine", {}).get("cpu"):
        differing.append("machine")
    if differing:
        lines.append(f"not the same in both: {', '.join(differing)}")
    return "\n".join(lines)


def _pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, float, float, float]]:
    for name, better in BETTER.items():
        yield from _pair(name, old.get(name), new.get(name), more=better == "more")
    for stage, figures in new["stages"].items():
        before = old["stages"].get(stage, {})
        yield from _pair(f"{stage} median_ms", before.get("median_ms"), figures.get("median_ms"), more=False)


def _pair(name: str, before: object, now: object, *, more: bool) -> Iterator[tuple[str, float, float, float]]:
    """Only where both are numbers and neither is 0."""
    if isinstance(before, int | float) and isinstance(now, int | float) and before and now:
        yield name, before, now, now / before if more else before / now


def bars(stages: Mapping[str, float]) -> list[str]:
    """A line for each stage, as long as its share of all of them."""
    total = sum(stages.values())
    shares = {name: spent / total for name, spent in stages.items() if spent}
    return [f"{name:<10}{'#' * round(BAR * share)} {share:.0%}" for name, share in shares.items()]
