"""The report as pictures: adherence, switches frame by frame, drift over time, steps.

Knows the report and matplotlib, which is an extra and is only loaded here; draws to files and never to a screen.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from models.errors import ConfigError
from models.train.eval.adherence import READ
from models.train.eval.pixels import REFERENCE_BLOCKS
from models.train.eval.report import Report
from models.train.eval.shares import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXTRA: Final = "plots need matplotlib: install longtake[train], or leave them out with --no-plots"
ATTRIBUTES: Final = (*READ, "motion", "present")


def check_plots() -> None:
    """Raise ConfigError, naming the extra, where nothing can be plotted."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(EXTRA, field="plots") from error
    matplotlib.use("agg")


def write_plots(report: Report, folder: Path) -> list[Path]:
    """One file for each part that there is something to draw of."""
    check_plots()
    drawn: tuple[tuple[str, bool, Callable[[Axes, Report], None]], ...] = (
        ("adherence", report.adherence is not None, _adherence),
        ("switches", report.switches is not None, _switches),
        ("drift", report.drift is not None, _drift),
        ("steps", report.steps_series is not None, _steps),
    )
    return [_write(folder / f"{name}.png", report, draw) for name, there, draw in drawn if there]


def _write(path: Path, report: Report, draw: "Callable[[Axes, Report], None]") -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    draw(axes, report)
    figure.savefig(path, dpi=120)
    return path


def _errors(shares: Sequence[Share]) -> list[list[float]]:
    return [[one.value - one.low for one in shares], [one.high - one.value for one in shares]]


def _adherence(axes: "Axes", report: Report) -> None:
    for found, title, offset in ((report.adherence, "takes", -0.2), (report.deaf, "text cut off", 0.2)):
        if found is not None:
            shares: list[Share] = [getattr(found, name) for name in ATTRIBUTES]
            places = [place + offset for place in range(len(shares))]
            axes.bar(places, [one.value for one in shares], 0.38, yerr=_errors(shares), capsize=2, label=title)
    axes.set_xticks(range(len(ATTRIBUTES)), ATTRIBUTES)
    axes.set(ylim=(0, 1.02), ylabel="share that is right", title="What the prompt says, seen")
    axes.legend(loc="lower left")


def _switches(axes: "Axes", report: Report) -> None:
    assert report.switches is not None
    for figures in report.switches.modes:
        axes.plot(report.switches.frames, figures.scene_by_frame, label=figures.change)
    axes.axvline(0, color="0.7", linewidth=1)
    axes.set(ylim=(-0.02, 1.02), xlabel="frames since the switch", ylabel="share of takes with the new scene")
    axes.set_title("A new scene, mode by mode")
    axes.legend(loc="lower right")


def _drift(axes: "Axes", report: Report) -> None:
    assert report.drift is not None
    for found in report.drift.engines:
        # The blocks that the others are held against have no drift of their own.
        first = 1 + REFERENCE_BLOCKS
        axes.plot(found.at_seconds[first:], found.drift_series[first:], label=found.engine)
    axes.set(ylim=(0, None), xlabel="seconds", ylabel="drift of what stands still, of 255", title="Drift")
    axes.legend(loc="upper left")


def _steps(axes: "Axes", report: Report) -> None:
    assert report.steps_series is not None
    steps = [one.steps for one in report.steps_series]
    for name in ATTRIBUTES:
        shares: list[Share] = [getattr(one.adherence, name) for one in report.steps_series]
        axes.errorbar(steps, [one.value for one in shares], yerr=_errors(shares), capsize=2, label=name)
    axes.set(ylim=(0, 1.02), xlabel="denoising steps", ylabel="share that is right", title="Steps")
    axes.legend(loc="lower right")
