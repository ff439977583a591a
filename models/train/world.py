"""The small world the demo model is trained on: its attributes, its captions, its vocabulary.

Knows words, indices and random numbers; knows nothing about pixels (render.py) or models. Every clip shows one
object before one background: colour x shape x motion x scene x time of day. An attribute's index is its place in
the tuples below, everywhere (captions, renderer, detectors, evaluation). Captions are drawn from paraphrases, and
every word a caption can hold is in VOCABULARY, in a fixed order.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple")
SHAPES: Final = ("ball", "box", "star")
MOTIONS: Final = ("rests", "bounces", "circles", "sways")
SCENES: Final = ("meadow", "desert", "snow", "sea", "city", "forest")
TIMES: Final = ("day", "sunset", "night")
ATTRIBUTES: Final = ("colour", "shape", "motion", "scene", "time")
COLOUR, SHAPE, MOTION, SCENE, TIME = range(5)
VALUES: Final = (COLOURS, SHAPES, MOTIONS, SCENES, TIMES)
"""Names of the values of every attribute, in the order of ATTRIBUTES."""

PHRASES: Final[tuple[tuple[tuple[str, ...], ...], ...]] = (
    (
        ("red", "scarlet"),
        ("orange", "tangerine"),
        ("yellow", "lemon"),
        ("green", "emerald"),
        ("blue", "azure"),
        ("purple", "violet"),
    ),
    (("ball", "sphere"), ("box", "cube"), ("star", "star shape")),
    (
        ("rests", "stays still", "sits"),
        ("bounces", "hops", "jumps"),
        ("circles", "moves in a circle", "goes round"),
        ("sways", "swings", "moves from side to side"),
    ),
    (
        ("over a grassy meadow", "in a meadow", "in grassy fields"),
        ("in the desert", "over sand dunes", "over desert sand"),
        ("in the snow", "over snowy mountains", "in a snowy land"),
        ("over the sea", "by the ocean", "at sea"),
        ("in the city", "before a city skyline", "in a town"),
        ("in the forest", "before pine trees", "in the woods"),
    ),
    (
        ("by day", "in daylight", "at noon"),
        ("at sunset", "at dusk", "in the evening"),
        ("at night", "under the moon", "by moonlight"),
    ),
)
FIRST_PHRASE_SHARE: Final = 0.6
"""How often the first, plainest phrase is chosen; the others share the rest."""

USUAL_ORDER_SHARE: Final = 0.8


def words_of(text: str) -> tuple[str, ...]:
    """Lower-cased words of a prompt, punctuation dropped."""
    return tuple("".join(letter if letter.isalpha() else " " for letter in text.lower()).split())


def build_vocabulary() -> tuple[str, ...]:
    """Every word a caption can hold, sorted, without the encoder's own `<pad>` and `<unk>`."""
    words = {"a", "an"}
    for attribute in PHRASES:
        for value in attribute:
            for phrase in value:
                words.update(words_of(phrase))
    return tuple(sorted(words))


VOCABULARY: Final = build_vocabulary()
LONGEST_CAPTION: Final = 16
"""Words in the longest caption, and so the length of the demo model's text."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What one clip (or one part of it) shows, as indices into VALUES."""

    colour: int
    shape: int
    motion: int
    scene: int
    time: int

    def indices(self) -> tuple[int, int, int, int, int]:
        """The five indices in the order of ATTRIBUTES."""
        return (self.colour, self.shape, self.motion, self.scene, self.time)


def attributes_of(indices_5: Tensor) -> Attributes:
    """Attributes from a row of five integers."""
    colour, shape, motion, scene, time = (int(index) for index in indices_5)
    return Attributes(colour=colour, shape=shape, motion=motion, scene=scene, time=time)


def choose(count: int, generator: torch.Generator) -> int:
    """A uniform random integer below `count`."""
    return int(torch.randint(count, (), generator=generator))


def phrase_for(attribute: int, value: int, *, generator: torch.Generator) -> str:
    """One phrase for a value, the plainest one most often."""
    phrases = PHRASES[attribute][value]
    if float(torch.rand((), generator=generator)) < FIRST_PHRASE_SHARE:
        return phrases[0]
    return phrases[1 + choose(len(phrases) - 1, generator)]


def caption(attributes: Attributes, generator: torch.Generator) -> str:
    """A caption in words drawn from the paraphrases, in one of three orders."""
    colour, shape, motion, scene, time = (
        phrase_for(attribute, value, generator=generator) for attribute, value in enumerate(attributes.indices())
    )
    article = "an" if colour[0] in "aeiou" else "a"
    subject = f"{article} {colour} {shape} {motion}"
    if float(torch.rand((), generator=generator)) < USUAL_ORDER_SHARE:
        return f"{subject} {scene} {time}"
    return f"{time}, {subject} {scene}" if choose(2, generator) else f"{scene} {time}, {subject}"


def plain_caption(attributes: Attributes) -> str:
    """The caption in the plainest words, always the same: "a red ball bounces over a grassy meadow at sunset"."""
    colour, shape, motion, scene, time = (
        PHRASES[attribute][value][0] for attribute, value in enumerate(attributes.indices())
    )
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape} {motion} {scene} {time}"


def sample_attributes(count: int, generator: torch.Generator) -> Tensor:
    """Uniform random attributes [count, 5], int64."""
    columns = [torch.randint(len(values), (count,), generator=generator) for values in VALUES]
    return torch.stack(columns, dim=1)


def change_attributes(attributes_B5: Tensor, generator: torch.Generator) -> Tensor:
    """The attributes after a prompt switch: one to five of them differ, each with the same chance."""
    count = attributes_B5.shape[0]
    change = torch.rand(count, 5, generator=generator) < 0.4
    forced = torch.randint(5, (count,), generator=generator)
    change[torch.arange(count), forced] = True
    sizes = torch.tensor([len(values) for values in VALUES])
    step = 1 + (torch.rand(count, 5, generator=generator) * (sizes - 1)).long().clamp(max=sizes - 2)
    return torch.where(change, (attributes_B5 + step) % sizes, attributes_B5)
