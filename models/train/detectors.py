"""Read back from pixels what a clip shows: scene, time of day, skyline, and the object's colour, shape, place and
motion.

Analytic: three linear discriminants fitted in closed form on rendered clips, a blob filter and a rule for tracks.
Knows pixels and the world's indices; knows nothing about models. Their accuracy on rendered clips (`eval.trust`)
belongs beside every figure they measure. Shapes: N frames; a frame is read on its own, motion needs 24 of them.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from models.train.classifier import LinearClassifier, fit_classifier
from models.train.degrade import degrade
from models.train.features import HALF, colour_likeness, half_size, row_colours, skyline_statistics
from models.train.motion import RADIUS
from models.train.render import Renderer
from models.train.world import MOTIONS, SCENE, SCENES, SHAPE, SHAPES, TIME, TIMES
from models.vae import LinearCodec

PRESENT: Final = 0.28
"""Blob score from which an object counts as present. Rendered objects have 0.71, 0.40 at the least in 99 of 100
frames, degraded ones 0.36; empty backdrops, clean or noisy, never more than 0.11."""
RING: Final = 1.55
QUARTER: Final = HALF // 2
KERNEL: Final = 13
"""Side of the blob filter on the quarter-size picture."""
CALIBRATION_SEED: Final = 30_000
PLACES: Final = len(SCENES) * len(TIMES)
"""Classes of a place: a scene at a time of day."""
MOTION_FRAMES: Final = 24
TOGETHER: Final = 32
"""Frames that are read at once."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the frames show, one entry a frame [N]."""

    scene: Tensor
    time: Tensor
    skyline: Tensor
    """Scene by the skyline alone: misses nothing that is left standing after a switch."""
    colour: Tensor
    shape: Tensor
    x: Tensor
    y: Tensor
    score: Tensor
    """Blob score: cover of the disc minus cover of the ring around it."""

    @property
    def present(self) -> Tensor:
        """Whether an object is seen [N]."""
        return self.score >= PRESENT


@dataclass(frozen=True, slots=True)
class Blob:
    """The best blob of one colour in each frame, in pixels of the half-size picture."""

    score: Tensor
    colour: Tensor
    x: Tensor
    y: Tensor
    likeness: Tensor
    """[N,48,48] of the blob's colour."""


class Detectors:
    """The calibrated detectors. Make them with `calibrate`, once."""

    def __init__(self, *, place: LinearClassifier, skyline: LinearClassifier, shape: LinearClassifier) -> None:
        self._place = place
        self._skyline = skyline
        self._shape = shape
        self._disc = _disc_minus_ring()

    @classmethod
    def calibrate(cls, renderer: Renderer, codec: LinearCodec, *, clips: int = 432) -> "Detectors":
        """Fit on freshly rendered frames, half of them degraded; the seed is not used elsewhere."""
        generator = torch.Generator().manual_seed(CALIBRATION_SEED)
        rendered = renderer.clips(clips, codec.config.frames, switch_share=0.0, generator=generator)
        attributes = rendered.attributes[:, 0].repeat(2, 1)
        damaged = degrade(rendered.frames, codec, generator)
        half = torch.cat([half_size(frames[:, 0]) for frames in (rendered.frames, damaged)])
        places = attributes[:, SCENE] * len(TIMES) + attributes[:, TIME]
        place = fit_classifier(_place_features(half), places, PLACES)
        skyline = fit_classifier(skyline_statistics(half), places, PLACES)
        disc = _disc_minus_ring()
        crops = [_shape_features(_locate(colour_likeness(part), disc)) for part in half.split(TOGETHER)]
        shape = fit_classifier(torch.cat(crops), attributes[:, SHAPE], len(SHAPES))
        return cls(place=place, skyline=skyline, shape=shape)

    @property
    def digest(self) -> str:
        """Tells one calibration from another."""
        parts = (self._place, self._skyline, self._shape)
        return sha256(b"".join(part.weight.numpy().tobytes() for part in parts)).hexdigest()[:16]

    def read(self, frames_N3HW: Tensor) -> Reading:
        """Everything that single frames show."""
        parts = [self._read(chunk) for chunk in frames_N3HW.split(TOGETHER)]
        return Reading(*(torch.cat([getattr(part, name) for part in parts]) for name in Reading.__slots__))

    def _read(self, frames_N3HW: Tensor) -> Reading:
        half = half_size(frames_N3HW)
        place = self._place.classes(_place_features(half))
        blob = _locate(colour_likeness(half), self._disc)
        return Reading(
            scene=place // len(TIMES),
            time=place % len(TIMES),
            skyline=self._skyline.classes(skyline_statistics(half)) // len(TIMES),
            colour=blob.colour,
            shape=self._shape.classes(_shape_features(blob)),
            x=(blob.x + 0.5) / HALF,
            y=(blob.y + 0.5) / HALF,
            score=blob.score,
        )


def _locate(likeness_N6HW: Tensor, disc: Tensor) -> Blob:
    """The best blob: found on a quarter-size picture, its centre then moved to the middle of its colour."""
    count, colours = likeness_N6HW.shape[:2]
    quarter = avg_pool2d(likeness_N6HW, 2).flatten(0, 1)[:, None]
    # Edges are repeated: a colour that fills a corner is no blob.
    blobs = conv2d(pad(quarter, (KERNEL // 2,) * 4, mode="replicate"), disc)
    score, best = blobs.reshape(count, colours * QUARTER * QUARTER).max(dim=1)
    colour, pixel = best // (QUARTER * QUARTER), best % (QUARTER * QUARTER)
    chosen = likeness_N6HW[torch.arange(count, device=colour.device), colour]
    x, y = 2.0 * (pixel % QUARTER) + 0.5, 2.0 * (pixel // QUARTER) + 0.5
    x, y = _centre_of_mass(chosen, x, y)
    return Blob(score=score, colour=colour, x=x, y=y, likeness=chosen)


def _shape_features(blob: Blob) -> Tensor:
    """The best colour's likeness around the best blob [N, crop]."""
    return _crop_around(blob.likeness, blob.x, blob.y, side=21).flatten(1)


def _place_features(half_N3HW: Tensor) -> Tensor:
    return torch.cat([row_colours(half_N3HW), skyline_statistics(half_N3HW)], dim=1)


def _disc_minus_ring() -> Tensor:
    """Kernel [1,1,KERNEL,KERNEL]: the mean over a disc of the object's size minus the mean over the ring around it."""
    axis = (torch.arange(KERNEL) - KERNEL // 2).float() / (QUARTER * RADIUS)
    radius = torch.hypot(axis[:, None], axis[None, :])
    disc, ring = (radius < 0.8).float(), ((radius > 1.15) & (radius < RING)).float()
    return (disc / disc.sum() - ring / ring.sum())[None, None]


def _centre_of_mass(likeness_NHW: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Move centres to the middle of the likeness near them."""
    axis = torch.arange(HALF).float()
    distance = torch.hypot(axis[None, None, :] - x[:, None, None], axis[None, :, None] - y[:, None, None])
    near = distance < 1.3 * HALF * RADIUS
    mass = likeness_NHW * near + 1e-6
    total = mass.sum(dim=(1, 2))
    return (mass * axis).sum(dim=(1, 2)) / total, (mass * axis[:, None]).sum(dim=(1, 2)) / total


def _crop_around(pictures_NHW: Tensor, x: Tensor, y: Tensor, side: int) -> Tensor:
    """Crops [N,side,side] centred to a fraction of a pixel, zero outside the picture."""
    offset = (torch.arange(side) - side // 2).float()
    columns = (x[:, None] + offset) * 2 / (HALF - 1) - 1
    rows = (y[:, None] + offset) * 2 / (HALF - 1) - 1
    grid = torch.stack([columns[:, None, :].expand(-1, side, -1), rows[:, :, None].expand(-1, -1, side)], dim=-1)
    sampled = torch.nn.functional.grid_sample(pictures_NHW[:, None], grid, align_corners=True)
    return sampled[:, 0]


def read_motion(x_T: Tensor, y_T: Tensor, present_T: Tensor) -> int:
    """Which motion a track over 24 frames shows, as an index into MOTIONS, by how far it reaches in x and y."""
    if 2 * int(present_T.sum()) < len(present_T):
        return MOTIONS.index("rests")
    across, down = _reach(x_T[present_T]), _reach(y_T[present_T])
    if across < 0.07:
        return MOTIONS.index("bounces" if down >= 0.07 else "rests")
    return MOTIONS.index("circles" if down >= 0.07 else "sways")


def _reach(values: Tensor) -> float:
    low, high = torch.quantile(values, torch.tensor([0.05, 0.95]))
    return float(high - low)
