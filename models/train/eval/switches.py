"""What a prompt switch does: how soon the new prompt shows, what it keeps, and how far the picture jumps.

Knows takes, records and the world. All modes go on from the same beginnings, so their takes are compared one by one.
Frames are counted from the switch on: frame 0 is the first of the first block under the new prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from models.train.eval.cases import SwitchCase, switch_cases
from models.train.eval.engines import Variant
from models.train.eval.runner import SERVED, Runner
from models.train.eval.shares import Ratio, Share, ratio_of, share_of
from models.train.eval.takes import Change, Take, TakeRecord
from models.train.world import COLOUR, SCENE, SHAPE, TIME

MODES: Final = (Change(mode="recache"), Change(mode="keep"), Change(mode="flush"), Change(mode="cut"))
BLEND: Final = Change(mode="recache", blend=2)
BEFORE: Final = 4
AFTER: Final = 3
SOON: Final = 12
"""Frames within which a new scene is to be there."""
LATER: Final = 24
"""Frames within which a new colour is to be there."""
QUARTER: Final = 3
"""The frames before such a limit of which most have to show what is new."""
KEPT: Final = {"scene": SCENE, "time": TIME, "colour": COLOUR, "shape": SHAPE}

Pair = tuple[TakeRecord, SwitchCase]


@dataclass(frozen=True, slots=True)
class ModeFigures:
    """One mode over all pairs of prompts."""

    change: str
    new_scene: Share
    """New scene within 12 frames, where the prompt changes it."""
    new_skyline: Share
    """The same by the skyline alone, within 24 frames: sees what is left standing."""
    new_colour: Share
    """New colour within 24 frames, where the prompt changes it."""
    kept: Share
    """What the new prompt keeps and was there before, still there in the frames from 12 on."""
    kept_each: dict[str, Share]
    jump: float
    """Mean jump at the switch where the scene stays, of 255."""
    scene_by_frame: list[float]
    """Share of takes that show the new scene, frame by frame as they are read."""
    colour_by_frame: list[float]


@dataclass(frozen=True, slots=True)
class Switches:
    """All modes."""

    pairs: int
    frames: list[int]
    """The frames that `..._by_frame` are of."""
    modes: list[ModeFigures]
    cut_over_recache: Ratio
    """Jump at the switch of `cut` over `recache`, where the scene stays."""


def switch_takes(
    pairs: Sequence[SwitchCase], *, before: int = BEFORE, changes: tuple[Change, ...] = (*MODES, BLEND)
) -> list[Take]:
    """One take a pair."""
    return [
        Take(
            prompt=pair.first.prompt,
            later=pair.second.prompt,
            seed=pair.first.seed,
            blocks=before,
            after=AFTER,
            changes=changes,
            read_every=1,
        )
        for pair in pairs
    ]


def measure_switches(runner: Runner, *, clips: int) -> Switches:
    """All modes and a blend, as served."""
    pairs = switch_cases(clips)
    return compare(runner, pairs, takes=switch_takes(pairs), title="switches")


def compare(
    runner: Runner, pairs: Sequence[SwitchCase], *, takes: Sequence[Take], variant: Variant = SERVED, title: str
) -> Switches:
    """Film the takes of the pairs and read them; one of their changes must be a cut and one a recache."""
    records = runner.run(takes, variant=variant, title=title)
    by_change = [list(zip(column, pairs, strict=True)) for column in zip(*records, strict=True)]
    modes = [figures_of(column) for column in by_change]
    jumps = {column[0][0].change: _jumps(column) for column in by_change}
    return Switches(
        pairs=len(pairs),
        frames=list(_since(records[0][0])),
        modes=modes,
        cut_over_recache=ratio_of(jumps["cut"], jumps["recache"]),
    )


def figures_of(column: Sequence[Pair]) -> ModeFigures:
    """The figures of one mode."""
    new_scene = [pair for pair in column if not pair[1].keeps(SCENE)]
    new_colour = [pair for pair in column if not pair[1].keeps(COLOUR)]
    kept = {name: _kept(column, name) for name in KEPT}
    jumps = _jumps(column)
    return ModeFigures(
        change=column[0][0].change,
        new_scene=share_of([_there(record, "scene", case.second.truth[SCENE], SOON) for record, case in new_scene]),
        new_skyline=share_of(
            [_there(record, "skyline", case.second.truth[SCENE], LATER) for record, case in new_scene]
        ),
        new_colour=share_of(
            [_there(record, "colour", case.second.truth[COLOUR], LATER) for record, case in new_colour]
        ),
        kept=share_of([part for parts in kept.values() for part in parts]),
        kept_each={name: share_of(parts) for name, parts in kept.items()},
        jump=sum(jumps) / max(len(jumps), 1),
        scene_by_frame=_by_frame(new_scene, "scene", lambda case: case.second.truth[SCENE]),
        colour_by_frame=_by_frame(new_colour, "colour", lambda case: case.second.truth[COLOUR]),
    )


def _since(record: TakeRecord) -> tuple[int, ...]:
    """The frames read, counted from the switch: negative before it."""
    return tuple(frame - record.starts[1] for frame in record.read)


def _there(record: TakeRecord, name: str, value: int, limit: int) -> float:
    """Whether most of the last frames before the limit show a value."""
    found: tuple[int, ...] = getattr(record, name)
    last = [one == value for frame, one in zip(_since(record), found, strict=True) if limit - QUARTER <= frame < limit]
    return float(2 * sum(last) > len(last))


def _kept(column: Sequence[Pair], name: str) -> list[float]:
    """For each take that showed what both prompts say of an attribute: in how many of the frames from 12 on it does."""
    parts = []
    for record, case in column:
        value, frames = case.second.truth[KEPT[name]], _since(record)
        found = list(zip(frames, getattr(record, name), strict=True))
        before = [one == value for frame, one in found if frame < 0]
        after = [one == value for frame, one in found if frame >= SOON]
        if case.keeps(KEPT[name]) and 2 * sum(before) > len(before):
            parts.append(sum(after) / len(after))
    return parts


def _jumps(column: Sequence[Pair]) -> list[float]:
    return [record.jumps[record.starts[1]] for record, case in column if case.keeps_place]


def _by_frame(column: Sequence[Pair], name: str, wanted: Callable[[SwitchCase], int]) -> list[float]:
    rows = [[one == wanted(case) for one in getattr(record, name)] for record, case in column]
    return [sum(right) / len(rows) for right in zip(*rows, strict=True)]
