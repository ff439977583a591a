"""Where the prompts of self-made streams come from: captions of the small world, or files of prompts.

Data layout of files: text in UTF-8, a prompt a line, empty lines not allowed; for streams that switch a second file
of as many lines, whose line n is what line n's prompt changes to. Knows nothing of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from models.train.world import attributes_of, caption, change_attributes, choose, sample_attributes

Pairs = tuple[tuple[str, ...], tuple[str, ...]]
"""Prompts before and after the switch, one of each a stream."""


class PromptSource(Protocol):
    """Draws prompts for new streams."""

    def draw(self, count: int, generator: torch.Generator) -> Pairs: ...


class WorldPrompts:
    """Random captions of the small world and what they change to."""

    def draw(self, count: int, generator: torch.Generator) -> Pairs:
        before = sample_attributes(count, generator)
        after = change_attributes(before, generator)
        first, second = (
            tuple(caption(attributes_of(row), generator) for row in attributes) for attributes in (before, after)
        )
        return first, second


@dataclass(frozen=True, slots=True)
class PromptFiles:
    """Prompts from files. Make it by `read`."""

    prompts: tuple[str, ...]
    later: tuple[str, ...]

    @classmethod
    def read(cls, prompts: Path, later: Path | None = None) -> "PromptFiles":
        """Read one file, or two that belong together. Raises ValueError naming the file and the line."""
        first = _lines(prompts)
        second = first if later is None else _lines(later)
        if len(second) != len(first):
            raise ValueError(f"{later}: expected {len(first)} prompts, one for each of {prompts}, got {len(second)}")
        return cls(first, second)

    def draw(self, count: int, generator: torch.Generator) -> Pairs:
        chosen = [choose(len(self.prompts), generator) for _ in range(count)]
        return _pick(self.prompts, chosen), _pick(self.later, chosen)


def _pick(prompts: Sequence[str], chosen: Sequence[int]) -> tuple[str, ...]:
    return tuple(prompts[number] for number in chosen)


def _lines(path: Path) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    if not lines:
        raise ValueError(f"{path}: expected a prompt a line, found none")
    for number, line in enumerate(lines, start=1):
        if not line:
            raise ValueError(f"{path}:{number}: expected a prompt, found an empty line")
    return lines
