"""The report as Markdown: one table a part, every share with its interval, the detectors' own accuracy beside it.

Knows the report's values and nothing of how they came about. A part that was left out has no table.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from models.train.eval.ablation import Ablation
from models.train.eval.adherence import READ, Adherence
from models.train.eval.continuity import Continuity
from models.train.eval.drift import MINUTE, DriftFigures
from models.train.eval.report import Report
from models.train.eval.series import Precision, Steps
from models.train.eval.shares import Ratio, Share
from models.train.eval.switches import ModeFigures, Switches
from models.train.eval.trust import DetectorAccuracy, Matrix, Trust
from models.train.world import COLOURS, MOTIONS, SCENES, SHAPES, TIMES

CLASSES: Final = {
    "scene": SCENES,
    "time": TIMES,
    "skyline": SCENES,
    "colour": COLOURS,
    "shape": SHAPES,
    "motion": MOTIONS,
}
WITHOUT_CHANCE: Final = ("shape", "motion")
"""Also told with chance taken out: (share - chance) / (1 - chance)."""

Row = Sequence[str]


def markdown_of(report: Report) -> str:
    """The whole report."""
    parts = [
        f"Preset `{report.preset}`, {report.steps} steps, {report.clips} clips, numerics `{report.fingerprint}`. "
        "In brackets: 95 % intervals.",
        *_adherence(report),
        *_switches(report.switches),
        *_drift(report),
        *_continuity(report.continuity, report.trust),
        *_steps(report.steps_series),
        *_windows(report.windows),
        *_precision(report.precision),
        *_ablation(report.ablation),
        *_confusions(report.trust),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def share(value: Share) -> str:
    """A share with its interval, or a dash where nothing could be said."""
    return f"{value.value:.3f} ({value.low:.2f}-{value.high:.2f})" if value.total else "-"


def ratio(value: Ratio) -> str:
    return f"{value.value:.2f} ({value.low:.2f}-{value.high:.2f})" if value.total else "-"


def _adherence(report: Report) -> list[str]:
    found, deaf, trust = report.adherence, report.deaf, report.trust
    if found is None and deaf is None and trust is None:
        return []
    head = ["", "takes", "text cut off", "chance", "detector, clean", "detector, degraded"]
    rows = []
    for name, values in CLASSES.items():
        chance = 1 / len(values)
        rows.append([name, _of(found, name), _of(deaf, name), f"{chance:.2f}", *_trusted(trust, name)])
        if name in WITHOUT_CHANCE and found is not None:
            free: Share = getattr(found, name).without_chance(len(values))
            rows.append([f"{name}, chance taken out", share(free), "", "0", "", ""])
    rows.append(["object present", _of(found, "present"), _of(deaf, "present"), "", *_trusted(trust, "present")])
    position = ["", ""] if trust is None else [f"{one.position:.3f}" for one in (trust.clean, trust.degraded)]
    rows.append(["position within 0.06", "", "", "", *position])
    speed = [] if report.speed is None else [f"{report.speed.frames_per_second} frames a second on one thread."]
    return ["## Adherence", table(head, rows), *speed]


def _of(adherence: Adherence | None, name: str) -> str:
    return "" if adherence is None else share(getattr(adherence, name))


def _trusted(trust: Trust | None, name: str) -> list[str]:
    if trust is None:
        return ["", ""]
    return [f"{getattr(one, name):.3f}" for one in (trust.clean, trust.degraded)]


MODE_HEAD: Final = (
    "mode",
    "new scene within 12 frames",
    "new skyline within 24",
    "new colour within 24",
    "kept",
    "kept scene",
    "kept time",
    "kept colour",
    "kept shape",
    "jump, scene stays",
)


def _switches(found: Switches | None) -> list[str]:
    if found is None:
        return []
    rows = [_mode(figures) for figures in found.modes]
    return [
        "## Prompt switches",
        f"{found.pairs} pairs of prompts, the same beginnings for every mode.",
        table(MODE_HEAD, rows),
        f"Jump of cut over recache where the scene stays: {ratio(found.cut_over_recache)}.",
    ]


def _mode(figures: ModeFigures) -> list[str]:
    shares = (figures.new_scene, figures.new_skyline, figures.new_colour, figures.kept, *figures.kept_each.values())
    return [figures.change, *map(share, shares), f"{figures.jump:.1f}"]


DRIFT_HEAD: Final = (
    "engine",
    "takes",
    "drift at 60 s",
    "at the end",
    "worst take",
    "single frames",
    "sharpness first, last",
    "scene first, last 10 s",
    "skyline",
    "colour",
    "shape",
    "collapsed",
)


def _drift(report: Report) -> list[str]:
    if report.drift is None:
        return []
    seconds = report.drift.engines[0].seconds
    text = (
        f"Takes of {seconds:g} s. Drift of what stands still, of 255: the mean picture of a block against that of "
        "blocks 1 to 3 (`single frames`: grain included)."
    )
    return ["## Drift", text, table(DRIFT_HEAD, map(_drift_row, report.drift.engines))]


def _drift_row(found: DriftFigures) -> list[str]:
    rights = [found.right.get(name) for name in ("scene", "skyline", "colour", "shape")]
    return [
        found.engine,
        str(found.takes),
        f"{found.drift_minute:.2f}" if found.seconds >= MINUTE else "-",
        f"{found.drift_end:.2f}",
        f"{found.worst_end:.2f}",
        f"{found.distance_end:.2f}",
        f"{found.sharpness.first:.2f}, {found.sharpness.last:.2f}",
        *("" if right is None else f"{right.first:.3f}, {right.last:.3f}" for right in rights),
        str(found.collapsed),
    ]


def _continuity(found: Continuity | None, trust: Trust | None) -> list[str]:
    if found is None:
        return []
    head = ["takes", "borders", "jump inside blocks", "at borders", "ratio", "95th percentile at borders", "cuts seen"]
    row = [
        str(found.takes),
        str(found.borders),
        f"{found.inside:.2f}",
        f"{found.border:.2f}",
        f"{found.border_ratio:.2f}",
        f"{found.border_p95:.2f}",
        str(found.cuts),
    ]
    text = "Without a prompt change; jumps of 255."
    if trust is not None:
        text += (
            f" Rendered clips jump by {trust.rendered.jump:.2f} and have a sharpness of {trust.rendered.sharpness:.2f}."
        )
    return ["## Continuity", text, table(head, [row])]


SERIES: Final = (*READ, "motion", "present")


def _steps(found: list[Steps] | None) -> list[str]:
    if found is None:
        return []
    rows = [[str(one.steps), *(share(getattr(one.adherence, name)) for name in SERIES)] for one in found]
    return ["## Steps", f"{found[0].adherence.scene.total} takes each.", table(["steps", *SERIES], rows)]


def _windows(found: list[DriftFigures] | None) -> list[str]:
    if found is None:
        return []
    text = f"Takes of {found[0].seconds:g} s; lengths in latent frames, sink included."
    return ["## Windows and sinks", text, table(DRIFT_HEAD, map(_drift_row, found))]


def _precision(found: list[Precision] | None) -> list[str]:
    if found is None:
        return []
    names = {"none": "full"}
    rows = [
        [
            names.get(one.quantize, one.quantize),
            f"{one.weight_bytes / 1e6:.1f}",
            f"{one.speed.frames_per_second}",
            *(share(getattr(one.adherence, name)) for name in SERIES),
        ]
        for one in found
    ]
    head = ["precision", "transformer, MB", "frames a second", *SERIES]
    return ["## Precision", f"{found[0].adherence.scene.total} takes each.", table(head, rows)]


def _ablation(found: list[Ablation] | None) -> list[str]:
    if found is None:
        return []
    rows = [
        [str(one.window_frames), *_mode(figures), ratio(one.switches.cut_over_recache) if number == 0 else ""]
        for one in found
        for number, figures in enumerate(one.switches.modes)
    ]
    text = f"{found[0].switches.pairs} pairs of prompts, switched when the long window is full."
    head = ["window", *MODE_HEAD, "jump of cut over recache"]
    return ["## The published ablation on this model", text, table(head, rows)]


def _confusions(trust: Trust | None) -> list[str]:
    if trust is None:
        return []
    parts = ["## The detectors' confusions", "Rows: rendered. Columns: read."]
    for title, found in (("clean", trust.clean), ("degraded", trust.degraded)):
        parts.append(f"### On {found.clips} {title} clips")
        parts += [_confusion(name, _matrix(found, name)) for name in CLASSES]
    return parts


def _matrix(found: DetectorAccuracy, name: str) -> Matrix:
    matrix: Matrix = getattr(found, f"{name}_confusion")
    return matrix


def _confusion(name: str, matrix: Matrix) -> str:
    values = CLASSES[name]
    return table([name, *values], ([value, *map(str, row)] for value, row in zip(values, matrix, strict=True)))
