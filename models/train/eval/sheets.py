"""Contact sheets, to be looked at: 24 takes, prompt switches, and one take of minutes.

Knows the generator, the cases and PIL; reads nothing from the pictures. A row of a sheet is a stretch of time.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from models.generator import Generator
from models.journal import WeightedPrompt
from models.train.eval.cases import calm_cases, cases, switch_cases
from models.train.eval.drift import SECONDS, suggested
from models.train.eval.film import branches, frames_of
from models.train.eval.pixels import Frames
from models.train.eval.switches import switch_takes
from models.train.eval.takes import Change

TAKES: Final = 24
TAKE_BLOCKS: Final = 3
TAKE_FRAMES: Final = 3
SWITCHES: Final = 12
SWITCH_FRAMES: Final = (-1, 2, 5, 8, 11, 17, 23, 35)
"""Of a switch's sheet, counted from the switch."""
LONG_FRAMES: Final = 24
LONG_COLUMNS: Final = 8
GAP: Final = 4
WHITE: Final = 255
SMALL: Final = 128
"""Pictures lower than this are shown at twice their size."""
CAPTION: Final = 14
"""Rows of the line above a cell that says what was asked for."""


def write_sheets(generator: Generator, folder: Path, *, world: bool, seconds: float = SECONDS) -> list[Path]:
    """Every sheet that applies, as PNG files."""
    pages: dict[str, Frames] = {"takes": takes_sheet(generator, world=world)}
    if world:
        pages["switches"] = switches_sheet(generator)
    pages["long"] = long_sheet(generator, world=world, seconds=seconds)
    return [_save(page, folder / f"{name}.png") for name, page in pages.items()]


def takes_sheet(generator: Generator, *, world: bool, takes: int = TAKES) -> Frames:
    """Three frames of every take, two takes in a row."""
    if world:
        prompts = [(case.prompt, case.seed) for case in cases(takes)]
    else:
        prompts = suggested(generator.preset, takes)
    cells = [titled(strip(_clip(generator, *prompt)), prompt[0]) for prompt in prompts]
    return page(cells, columns=2)


def switches_sheet(generator: Generator, *, switches: int = SWITCHES) -> Frames:
    """A row for every switch with recache, from the frame before it on."""
    rows = []
    for take in switch_takes(switch_cases(switches), changes=(Change(mode="recache"),)):
        for _, blocks in branches(generator, take):
            video, begun = np.concatenate(blocks), len(blocks[0])
            row = join([video[begun + frame] for frame in SWITCH_FRAMES])
            rows.append(titled(row, f"{take.prompt} > {take.later}"))
    return page(rows, columns=1)


def long_sheet(generator: Generator, *, world: bool, seconds: float) -> Frames:
    """One take, a frame from every 24th part of it."""
    prompt, seed = suggested(generator.preset, 1)[0]
    if world:
        (case,) = calm_cases(1)
        prompt, seed = case.prompt, case.seed
    preset = generator.preset
    blocks = max(LONG_FRAMES + 1, round(seconds * preset.fps / preset.frames_per_block))
    wanted = set(np.linspace(1, blocks - 1, LONG_FRAMES).round().astype(int).tolist())
    stream = generator.start([WeightedPrompt(prompt)], seed=seed)
    made = enumerate(frames_of(generator, stream, blocks=blocks))
    shown = [frames[-1] for number, frames in made if number in wanted]
    generator.close(stream)
    rows = [join(row) for row in _groups(shown, LONG_COLUMNS)]
    return titled(page(rows, columns=1), f"{prompt}: {blocks * preset.frames_per_block / preset.fps:.0f} s")


def _clip(generator: Generator, prompt: str, seed: int) -> Frames:
    stream = generator.start([WeightedPrompt(prompt)], seed=seed)
    video = np.concatenate(list(frames_of(generator, stream, blocks=TAKE_BLOCKS)))
    generator.close(stream)
    return video


def strip(video_THWC: Frames, *, shown: int = TAKE_FRAMES) -> Frames:
    """Some frames of a video side by side, evenly spread."""
    chosen = np.linspace(0, len(video_THWC) - 1, shown).round().astype(int)
    return join(list(video_THWC[chosen]))


def join(pictures: Sequence[Frames]) -> Frames:
    """Pictures of the same height side by side, small ones enlarged."""
    return np.concatenate([enlarged(picture) for picture in pictures], axis=1)


def enlarged(picture_HWC: Frames) -> Frames:
    """A small picture at twice its size, pixel by pixel."""
    if picture_HWC.shape[0] >= SMALL:
        return picture_HWC
    return picture_HWC.repeat(2, axis=0).repeat(2, axis=1)


def titled(picture_HWC: Frames, words: str) -> Frames:
    """A picture under a line of words."""
    line = Image.new("RGB", (picture_HWC.shape[1], CAPTION), "white")
    ImageDraw.Draw(line).text((2, 1), words, fill="black")
    return np.concatenate([np.asarray(line), picture_HWC])


def page(cells: Sequence[Frames], *, columns: int) -> Frames:
    """Cells of one size in rows, with white between them."""
    height, width, _ = cells[0].shape
    blank = np.full((height, width, 3), WHITE, dtype=np.uint8)
    rows = [_row(row, blank, columns) for row in _groups(cells, columns)]
    between = np.full((GAP, rows[0].shape[1], 3), WHITE, dtype=np.uint8)
    parts = [part for row in rows for part in (row, between)]
    return np.concatenate(parts[:-1])


def _row(cells: Sequence[Frames], blank: Frames, columns: int) -> Frames:
    between = np.full((blank.shape[0], GAP, 3), WHITE, dtype=np.uint8)
    full = [*cells, *([blank] * (columns - len(cells)))]
    parts = [part for cell in full for part in (cell, between)]
    return np.concatenate(parts[:-1], axis=1)


def _groups(cells: Sequence[Frames], size: int) -> Iterator[list[Frames]]:
    rest = iter(cells)
    while group := list(islice(rest, size)):
        yield group


def _save(sheet: Frames, path: Path) -> Path:
    Image.fromarray(sheet).save(path)
    return path
