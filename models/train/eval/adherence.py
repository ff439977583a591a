"""Whether takes show what their prompts say: scene, time, skyline, colour, shape, motion, an object at all.

Knows takes, records and the world; knows no engine beyond the runner. A share is of the frames of a take, averaged over
takes; a motion belongs to a whole take, and is read from its last second and a half.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from models.train.detectors import MOTION_FRAMES, PRESENT, read_motion
from models.train.eval.cases import Case, cases
from models.train.eval.engines import Variant
from models.train.eval.runner import SERVED, Runner
from models.train.eval.shares import Share, share_of
from models.train.eval.takes import Take, TakeRecord
from models.train.world import COLOUR, MOTION, SCENE, SHAPE, TIME

BLOCKS: Final = 3
"""The shortest take that shows a motion."""
READ: Final = {"scene": SCENE, "time": TIME, "skyline": SCENE, "colour": COLOUR, "shape": SHAPE}
"""What is read from single frames, and the attribute that says what it should be."""


@dataclass(frozen=True, slots=True)
class Adherence:
    """Shares over takes."""

    scene: Share
    time: Share
    skyline: Share
    """Scene by the skyline alone."""
    colour: Share
    shape: Share
    motion: Share
    present: Share
    mean_score: float
    """Of the object's blob; rendered objects have 0.7."""


def adherence_takes(chosen: Sequence[Case]) -> list[Take]:
    """One take for every case."""
    return [Take(prompt=case.prompt, seed=case.seed, blocks=BLOCKS) for case in chosen]


def measure_adherence(runner: Runner, *, clips: int, variant: Variant = SERVED, title: str = "adherence") -> Adherence:
    """Film the first `clips` cases and read them."""
    chosen = cases(clips)
    records = runner.run(adherence_takes(chosen), variant=variant, title=title)
    return adherence_of([record for (record,) in records], chosen)


def adherence_of(records: Sequence[TakeRecord], chosen: Sequence[Case]) -> Adherence:
    """Compare what was read with what was asked for."""
    both = list(zip(records, chosen, strict=True))

    def share(name: str) -> Share:
        return share_of([right_frames(record, name, value=case.truth[READ[name]]) for record, case in both])

    return Adherence(
        scene=share("scene"),
        time=share("time"),
        skyline=share("skyline"),
        colour=share("colour"),
        shape=share("shape"),
        motion=share_of([float(motion_of(record) == case.truth[MOTION]) for record, case in both]),
        present=share_of([_mean([score >= PRESENT for score in record.score]) for record in records]),
        mean_score=_mean([_mean(record.score) for record in records]),
    )


def right_frames(record: TakeRecord, name: str, *, value: int) -> float:
    """Share of the frames read that show a value."""
    found: tuple[int, ...] = getattr(record, name)
    return _mean([one == value for one in found])


def motion_of(record: TakeRecord) -> int:
    """The motion that the end of a take shows, as an index into MOTIONS."""
    end = record.read[-1] + 1
    first = sum(frame < end - MOTION_FRAMES for frame in record.read)
    present = torch.tensor(record.score[first:]) >= PRESENT
    return read_motion(torch.tensor(record.x[first:]), torch.tensor(record.y[first:]), present)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
