"""How far the detectors can be trusted: their own accuracy on rendered clips, clean and degraded.

Knows renderer and detectors; knows no model. The clips are fresh: no calibration has seen their seeds, and a renderer
with other backdrops may be given.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from models.train.degrade import degrade
from models.train.detectors import MOTION_FRAMES, Detectors, Reading, read_motion
from models.train.eval.pixels import jumps_of, sharpness_of
from models.train.render import Clips, Renderer
from models.train.world import COLOUR, COLOURS, MOTION, MOTIONS, SCENE, SCENES, SHAPE, SHAPES, TIME, TIMES
from models.vae import LinearCodec, to_rgb24

NEAR: Final = 0.06
"""Distance, as a share of the picture, up to which a position counts as right."""
CLEAN_SEED: Final = 5
DEGRADED_SEED: Final = 6

Matrix = list[list[int]]


@dataclass(frozen=True, slots=True)
class DetectorAccuracy:
    """The detectors' own accuracy on one set of rendered clips; of frames, motion of whole clips."""

    clips: int
    scene: float
    time: float
    skyline: float
    colour: float
    shape: float
    motion: float
    present: float
    position: float
    """Share of positions that are right within NEAR."""
    position_error: float
    mean_score: float
    scene_confusion: Matrix
    """This and the rest: counts [expected][found]."""
    time_confusion: Matrix
    skyline_confusion: Matrix
    colour_confusion: Matrix
    shape_confusion: Matrix
    motion_confusion: Matrix


@dataclass(frozen=True, slots=True)
class Look:
    """What rendered clips look like to the pixel measures, of 255: what a perfect model would have."""

    jump: float
    """Median jump from frame to frame."""
    sharpness: float


@dataclass(frozen=True, slots=True)
class Trust:
    """Both sets of clips, and the looks of the clean one."""

    clean: DetectorAccuracy
    degraded: DetectorAccuracy
    rendered: Look


def measure_trust(detectors: Detectors, renderer: Renderer, *, codec: LinearCodec, clips: int) -> Trust:
    """Accuracy on `clips` clean clips and on as many degraded ones."""
    clean = _render(renderer, clips, torch.Generator().manual_seed(CLEAN_SEED))
    generator = torch.Generator().manual_seed(DEGRADED_SEED)
    damaged = _render(renderer, clips, generator)
    return Trust(
        clean=measure_detectors(detectors, clean, clean.frames),
        degraded=measure_detectors(detectors, damaged, degrade(damaged.frames, codec, generator)),
        rendered=look_of(clean),
    )


def look_of(rendered: Clips) -> Look:
    """The pixel measures of rendered clips."""
    clips = [to_rgb24(frames) for frames in rendered.frames]
    jumps = [jump for frames in clips for jump in jumps_of(frames, None)[1:]]
    return Look(float(np.median(jumps)), float(np.mean([sharpness_of(frames[-1]) for frames in clips])))


def _render(renderer: Renderer, clips: int, generator: torch.Generator) -> Clips:
    return renderer.clips(clips, MOTION_FRAMES, switch_share=0.0, generator=generator)


def measure_detectors(detectors: Detectors, rendered: Clips, frames_NT3HW: Tensor) -> DetectorAccuracy:
    """Accuracy on frames that show what `rendered` says; every second frame is read."""
    reading = detectors.read(frames_NT3HW[:, ::2].flatten(0, 1))
    truth = rendered.attributes[:, ::2].flatten(0, 1)
    motion = rendered.attributes[:, 0, MOTION]
    found = motions_of(reading, len(motion))
    x, y = rendered.track.x[:, ::2].flatten(), rendered.track.y[:, ::2].flatten()
    distance = torch.hypot(reading.x - x, reading.y - y)
    return DetectorAccuracy(
        clips=len(motion),
        scene=accuracy(reading.scene, truth[:, SCENE]),
        time=accuracy(reading.time, truth[:, TIME]),
        skyline=accuracy(reading.skyline, truth[:, SCENE]),
        colour=accuracy(reading.colour, truth[:, COLOUR]),
        shape=accuracy(reading.shape, truth[:, SHAPE]),
        motion=accuracy(found, motion),
        present=float(reading.present.float().mean()),
        position=float((distance < NEAR).float().mean()),
        position_error=float(distance.mean()),
        mean_score=float(reading.score.mean()),
        scene_confusion=confusion(reading.scene, truth[:, SCENE], len(SCENES)),
        time_confusion=confusion(reading.time, truth[:, TIME], len(TIMES)),
        skyline_confusion=confusion(reading.skyline, truth[:, SCENE], len(SCENES)),
        colour_confusion=confusion(reading.colour, truth[:, COLOUR], len(COLOURS)),
        shape_confusion=confusion(reading.shape, truth[:, SHAPE], len(SHAPES)),
        motion_confusion=confusion(found, motion, len(MOTIONS)),
    )


def motions_of(reading: Reading, clips: int) -> Tensor:
    """The motion of every clip [clips], from the readings of all their frames, clip after clip."""
    parts = (reading.x, reading.y, reading.present)
    tracks = zip(*(part.unflatten(0, (clips, -1)) for part in parts), strict=True)
    return torch.tensor([read_motion(x, y, present) for x, y, present in tracks])


def accuracy(found: Tensor, expected: Tensor) -> float:
    """Share of equal entries."""
    return float((found == expected).float().mean())


def confusion(found: Tensor, expected: Tensor, classes: int) -> Matrix:
    """Counts [expected][found]."""
    counts = torch.bincount(expected * classes + found, minlength=classes * classes)
    table: Matrix = counts.reshape(classes, classes).tolist()
    return table
