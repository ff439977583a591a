"""Read back from pixels what a clip shows: scene, time of day, skyline, and the object's colour, shape, place and
motion.

Analytic: references and two small linear maps fitted in closed form on rendered clips, nothing learned by gradient.
Knows pixels and the world's indices; knows nothing about models. Report its accuracy on rendered clips (clean and
degraded) beside every figure it measures. Shapes: N frames; a frame is read on its own, motion needs 24 of them.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from models.train.degrade import degrade
from models.train.features import HALF, colour_likeness, half_size, row_colours, row_texture, skyline_profile
from models.train.motion import RADIUS
from models.train.render import Renderer
from models.train.world import COLOUR, MOTIONS, SCENE, SCENES, SHAPE, SHAPES, TIME, TIMES
from models.vae import LinearCodec

PRESENT: Final = 0.35
"""Blob score from which an object counts as present; see `Detectors.calibrate` for what rendered clips have."""
RING: Final = 1.55
QUARTER: Final = HALF // 2
KERNEL: Final = 13
"""Side of the blob filter on the quarter-size picture."""
CALIBRATION_SEED: Final = 30_000
RIDGE: Final = 1e-2
MOTION_FRAMES: Final = 24


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


@dataclass(frozen=True, slots=True)
class LinearClassifier:
    """Classes by the largest of linear scores, fitted as ridge regression on one-hot targets."""

    mean: Tensor
    scale: Tensor
    weight: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """Scores [N, classes]."""
        normal = (features - self.mean) / self.scale
        return torch.cat([normal, torch.ones_like(normal[:, :1])], dim=1) @ self.weight


def fit_classifier(features: Tensor, classes: Tensor, count: int) -> LinearClassifier:
    """Ridge regression of one-hot classes on standardised features."""
    mean, scale = features.mean(dim=0), features.std(dim=0) + 0.02
    normal = torch.cat([(features - mean) / scale, torch.ones(len(features), 1)], dim=1).double()
    target = torch.nn.functional.one_hot(classes, count).double()
    gram = normal.T @ normal + RIDGE * len(features) * torch.eye(normal.shape[1], dtype=torch.float64)
    return LinearClassifier(mean, scale, torch.linalg.solve(gram, normal.T @ target).float())


class Detectors:
    """The calibrated detectors. Make them with `calibrate`, once."""

    def __init__(self, *, place: LinearClassifier, skyline: LinearClassifier, shape: LinearClassifier) -> None:
        self._place = place
        self._skyline = skyline
        self._shape = shape
        self._disc = _disc_minus_ring()

    @classmethod
    def calibrate(cls, renderer: Renderer, codec: LinearCodec, *, clips: int = 768) -> "Detectors":
        """Fit on freshly rendered frames, half of them degraded; the seed is not used elsewhere."""
        generator = torch.Generator().manual_seed(CALIBRATION_SEED)
        rendered = renderer.clips(clips, 4, switch_share=0.0, generator=generator)
        attributes = rendered.attributes[:, 0].repeat(2, 1)
        frames = rendered.frames[:, 0].repeat(2, 1, 1, 1)
        frames[clips:] = degrade(rendered.frames[:, :4], codec, generator)[:, 0]
        half = half_size(frames)
        scene, time = attributes[:, SCENE], attributes[:, TIME]
        place = fit_classifier(_place_features(half), scene * len(TIMES) + time, len(SCENES) * len(TIMES))
        skyline = fit_classifier(_skyline_features(half), scene * len(TIMES) + time, len(SCENES) * len(TIMES))
        found = cls(place=place, skyline=skyline, shape=_no_shape())
        crops = found._shape_features(found._locate(colour_likeness(half)))
        return cls(place=place, skyline=skyline, shape=fit_classifier(crops, attributes[:, SHAPE], len(SHAPES)))

    def read(self, frames_N3HW: Tensor) -> Reading:
        """Everything that single frames show."""
        parts = [self._read(chunk) for chunk in frames_N3HW.split(128)]
        return Reading(*(torch.cat([getattr(part, name) for part in parts]) for name in Reading.__slots__))

    def _read(self, frames_N3HW: Tensor) -> Reading:
        half = half_size(frames_N3HW)
        place = self._place.scores(_place_features(half)).argmax(dim=1)
        skyline = self._skyline.scores(_skyline_features(half)).argmax(dim=1)
        blob = self._locate(colour_likeness(half))
        shape = self._shape.scores(self._shape_features(blob)).argmax(dim=1)
        return Reading(
            scene=place // len(TIMES),
            time=place % len(TIMES),
            skyline=skyline // len(TIMES),
            colour=blob.colour,
            shape=shape,
            x=(blob.x + 0.5) / HALF,
            y=(blob.y + 0.5) / HALF,
            score=blob.score,
        )

    def _locate(self, likeness_N6HW: Tensor) -> "Blob":
        """The best blob: found on a quarter-size picture, its centre then moved to the middle of its colour."""
        count, colours = likeness_N6HW.shape[:2]
        quarter = avg_pool2d(likeness_N6HW, 2).flatten(0, 1)[:, None]
        blobs = conv2d(quarter, self._disc, padding=KERNEL // 2)
        score, best = blobs.reshape(count, colours * QUARTER * QUARTER).max(dim=1)
        colour, pixel = best // (QUARTER * QUARTER), best % (QUARTER * QUARTER)
        chosen = likeness_N6HW[torch.arange(count, device=colour.device), colour]
        x, y = 2.0 * (pixel % QUARTER) + 0.5, 2.0 * (pixel // QUARTER) + 0.5
        x, y = _centre_of_mass(chosen, x, y)
        return Blob(score=score, colour=colour, x=x, y=y, likeness=chosen)

    def _shape_features(self, blob: "Blob") -> Tensor:
        """The best colour's likeness around the best blob [N, crop]."""
        return _crop_around(blob.likeness, blob.x, blob.y, side=21).flatten(1)


def _place_features(half: Tensor) -> Tensor:
    return torch.cat([row_colours(half), row_texture(half), skyline_profile(half)], dim=1)


def _skyline_features(half: Tensor) -> Tensor:
    return torch.cat([row_texture(half), skyline_profile(half)], dim=1)


def _no_shape() -> LinearClassifier:
    return LinearClassifier(torch.zeros(1), torch.ones(1), torch.zeros(2, len(SHAPES)))


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


def accuracy(found: Tensor, expected: Tensor) -> float:
    """Share of equal entries."""
    return float((found == expected).float().mean())


def confusion(found: Tensor, expected: Tensor, classes: int) -> Tensor:
    """Counts [expected, found]."""
    return torch.bincount(expected * classes + found, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True, slots=True)
class DetectorAccuracy:
    """The detectors' own accuracy on one set of rendered clips."""

    scene: float
    time: float
    skyline: float
    colour: float
    shape: float
    motion: float
    present: float
    position_within_6_percent: float
    mean_score: float
    scene_confusion: list[list[int]]
    time_confusion: list[list[int]]
    colour_confusion: list[list[int]]
    shape_confusion: list[list[int]]


def measure_detectors(
    detectors: Detectors, renderer: Renderer, *, clips: int, seed: int, codec: LinearCodec | None = None
) -> DetectorAccuracy:
    """Accuracy on fresh clips of 24 frames; with a codec they are degraded (round trip, blur, noise) first."""
    generator = torch.Generator().manual_seed(seed)
    rendered = renderer.clips(clips, MOTION_FRAMES, switch_share=0.0, generator=generator)
    frames = rendered.frames if codec is None else degrade(rendered.frames, codec, generator)
    reading = detectors.read(frames.flatten(0, 1))
    truth = rendered.attributes.flatten(0, 1)
    tracks = [part.unflatten(0, (clips, -1)) for part in (reading.x, reading.y, reading.present)]
    motions = torch.tensor([read_motion(*(part[clip] for part in tracks)) for clip in range(clips)])
    distance = torch.hypot(reading.x - rendered.track.x.flatten(), reading.y - rendered.track.y.flatten())
    return DetectorAccuracy(
        scene=accuracy(reading.scene, truth[:, SCENE]),
        time=accuracy(reading.time, truth[:, TIME]),
        skyline=accuracy(reading.skyline, truth[:, SCENE]),
        colour=accuracy(reading.colour, truth[:, COLOUR]),
        shape=accuracy(reading.shape, truth[:, SHAPE]),
        motion=accuracy(motions, rendered.attributes[:, 0, 2]),
        present=float(reading.present.float().mean()),
        position_within_6_percent=float((distance < 0.06).float().mean()),
        mean_score=float(reading.score.mean()),
        scene_confusion=confusion(reading.scene, truth[:, SCENE], len(SCENES)).tolist(),
        time_confusion=confusion(reading.time, truth[:, TIME], len(TIMES)).tolist(),
        colour_confusion=confusion(reading.colour, truth[:, COLOUR], 6).tolist(),
        shape_confusion=confusion(reading.shape, truth[:, SHAPE], len(SHAPES)).tolist(),
    )
