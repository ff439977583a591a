"""The prompts of the evaluation: fixed seeds, evenly drawn from the world, and pairs of them for prompt switches.

Knows the world's attributes and captions; knows no engine. The first N cases of any number are always the same, so
that a small evaluation is a part of a large one.
"""

from dataclasses import dataclass
from typing import Final

import torch

from models.train.world import COLOUR, SCENE, TIME, VALUES, attributes_of, plain_caption, sample_attributes

PROMPT_SEED: Final = 77
STREAM_SEED: Final = 1000
DRAWN: Final = 4096
"""Cases that are drawn at once, whatever number of them is used."""
CALM: Final = (0, 3)
"""Motions (rests, sways) in which the object stays below the skyline."""

Indices = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt, what it says and the seed of its stream."""

    seed: int
    truth: Indices

    @property
    def prompt(self) -> str:
        return plain_caption(attributes_of(torch.tensor(self.truth)))


@dataclass(frozen=True, slots=True)
class SwitchCase:
    """A prompt and the one that follows it."""

    first: Case
    second: Case

    def keeps(self, attribute: int) -> bool:
        """Whether both prompts say the same of an attribute."""
        return self.first.truth[attribute] == self.second.truth[attribute]

    @property
    def keeps_place(self) -> bool:
        """Whether scene and time stay."""
        return self.keeps(SCENE) and self.keeps(TIME)


def cases(count: int) -> list[Case]:
    """The first `count` prompts."""
    return [Case(STREAM_SEED + index, truth) for index, truth in enumerate(_drawn(PROMPT_SEED)[:count])]


def calm_cases(count: int) -> list[Case]:
    """The first `count` prompts whose object stays below the skyline, so that what is above stands still."""
    return [case for case in cases(DRAWN) if case.truth[2] in CALM][:count]


def switch_cases(count: int) -> list[SwitchCase]:
    """Pairs in turn: the place changes and the object stays; the place stays and the object changes; all may change."""
    found = []
    for index, (first, other) in enumerate(zip(cases(count), _drawn(PROMPT_SEED + 1), strict=False)):
        second = list(other)
        if index % 3 == 0:
            second = [*first.truth[:3], _another(first.truth, other, SCENE), other[TIME]]
        elif index % 3 == 1:
            second[SCENE], second[TIME] = first.truth[SCENE], first.truth[TIME]
            second[COLOUR] = _another(first.truth, other, COLOUR)
        colour, shape, motion, scene, time = second
        found.append(SwitchCase(first, Case(first.seed, (colour, shape, motion, scene, time))))
    return found


def _another(first: Indices, other: Indices, attribute: int) -> int:
    """The other's value, or the one after it where both say the same."""
    value = other[attribute]
    return value if value != first[attribute] else (value + 1) % len(VALUES[attribute])


def _drawn(seed: int) -> list[Indices]:
    rows = sample_attributes(DRAWN, torch.Generator().manual_seed(seed)).tolist()
    return [(colour, shape, motion, scene, time) for colour, shape, motion, scene, time in rows]
