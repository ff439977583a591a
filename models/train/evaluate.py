"""`python -m models.train.evaluate`: the quick figures of `longtake eval`, without a folder of results.

Hands its arguments on; measures nothing itself. Adherence and switches with the detectors' own accuracy beside them.
Knows the parts of `models.train.eval` by name.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from models.train.eval.engines import Source
from models.train.eval.report import Sizes, measure, parts_for
from models.train.eval.runner import Runner
from models.train.eval.sheets import write_sheets
from models.train.eval.tables import markdown_of

QUICK = ("detectors", "adherence", "switches")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure how the demo model follows its prompts.")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--weights", type=Path, help="another file of weights than the demo preset's")
    parser.add_argument("--shift", type=float, help="another shift of the sampling steps than the preset's")
    parser.add_argument("--sheet", type=Path, help="folder for contact sheets (PNG)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        runner = Runner(Source(preset="demo", weights=chosen.weights, shift=chosen.shift), Path(folder))
        *_, report = measure(runner, Sizes(clips=chosen.prompts), parts=parts_for(runner, QUICK))
        if chosen.sheet is not None:
            chosen.sheet.mkdir(parents=True, exist_ok=True)
            write_sheets(runner.engine(), chosen.sheet, world=True, seconds=20.0)
    print(report.to_json() if chosen.json else markdown_of(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
