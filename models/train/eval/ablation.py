"""The published ablation on our own model: the past kept, thrown away, or computed anew, in a short and a long window.

Knows the switch measures. LongLive (section 3.1 and figure 4 of its paper) finds that a kept cache holds on to the old
prompt and that a cleared one jumps; a longer window is where an old prompt has the most room to hold on.
"""

from dataclasses import dataclass
from typing import Final

from models.train.eval.cases import switch_cases
from models.train.eval.engines import Variant
from models.train.eval.runner import SERVED, Runner
from models.train.eval.switches import Switches, compare, switch_takes
from models.train.eval.takes import Change

CHANGES: Final = (Change(mode="cut"), Change(mode="keep"), Change(mode="recache"))
LONG_WINDOW: Final = 27
BLOCKS: Final = 9
"""Before the switch: what fills the long window."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """The three modes in one window."""

    window_frames: int
    switches: Switches


def measure_ablation(runner: Runner, *, clips: int) -> list[Ablation]:
    """In the window that is served, and in a long one."""
    pairs = switch_cases(clips)
    takes = switch_takes(pairs, before=BLOCKS, changes=CHANGES)
    served = runner.source.resolve().window.slots
    found = []
    for window, variant in ((served, SERVED), (LONG_WINDOW, Variant(window_frames=LONG_WINDOW))):
        switches = compare(runner, pairs, takes=takes, variant=variant, title=f"ablation, window {window}")
        found.append(Ablation(window, switches))
    return found
