"""The still pictures behind the object: six scenes at three times of day, a few variants of each.

Knows numpy and pixels; knows nothing about objects, clips or models. A backdrop is a function of (scene, time,
variant) alone. Backdrops keep their chroma (largest minus smallest channel) below `BACKDROP_CHROMA`, so that the
strongly coloured object stands out and a detector can find it. Drawn at three times the size and averaged down, so
edges are smooth.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.train.world import SCENES, TIMES

Picture = NDArray[np.float32]
SIZE: Final = 96
OVERSAMPLING: Final = 3
VARIANTS: Final = 4
BACKDROP_CHROMA: Final = 0.46
HORIZON: Final = 0.5


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one time of day: sky from top to horizon, what the light does to the ground, the sun or moon."""

    sky_top: tuple[float, float, float]
    sky_middle: tuple[float, float, float]
    sky_low: tuple[float, float, float]
    light: tuple[float, float, float]
    disc: tuple[float, float, float]
    disc_height: float
    disc_radius: float
    glow: float


PALETTES: Final = (
    Palette(
        sky_top=(0.40, 0.62, 0.84),
        sky_middle=(0.58, 0.78, 0.95),
        sky_low=(0.86, 0.93, 0.98),
        light=(1.0, 1.0, 1.0),
        disc=(1.0, 0.97, 0.80),
        disc_height=0.13,
        disc_radius=0.055,
        glow=0.25,
    ),
    Palette(
        sky_top=(0.36, 0.24, 0.46),
        sky_middle=(0.80, 0.47, 0.46),
        sky_low=(0.98, 0.72, 0.54),
        light=(0.86, 0.58, 0.50),
        disc=(1.0, 0.90, 0.66),
        disc_height=0.43,
        disc_radius=0.10,
        glow=0.22,
    ),
    Palette(
        sky_top=(0.02, 0.03, 0.10),
        sky_middle=(0.05, 0.07, 0.19),
        sky_low=(0.11, 0.14, 0.30),
        light=(0.30, 0.34, 0.52),
        disc=(0.94, 0.94, 0.86),
        disc_height=0.13,
        disc_radius=0.05,
        glow=0.16,
    ),
)


def _rgb(values: tuple[float, float, float]) -> Picture:
    return np.asarray(values, dtype=np.float32)


def _mix(base: Picture, top: Picture, share: Picture) -> Picture:
    """`base` where share is 0, `top` where it is 1; share is [H,W]."""
    blended: Picture = base + (top - base) * share[..., None]
    return blended


def _grid(size: int) -> tuple[Picture, Picture]:
    """Coordinates of pixel centres in [0,1]: x [H,W] and y [H,W]."""
    axis = ((np.arange(size) + 0.5) / size).astype(np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x, y


def _sky(palette: Palette, x: Picture, y: Picture, rng: np.random.Generator, night: bool) -> Picture:
    """A three-colour gradient with sun or moon, and stars at night."""
    height = np.clip(y / HORIZON, 0, 1)
    upper = np.clip(height / 0.55, 0, 1)
    lower = np.clip((height - 0.55) / 0.45, 0, 1)
    sky = _mix(np.broadcast_to(_rgb(palette.sky_top), (*y.shape, 3)), _rgb(palette.sky_middle), upper)
    sky = _mix(sky, _rgb(palette.sky_low), lower)
    disc_x = rng.uniform(0.2, 0.8)
    distance = np.hypot(x - disc_x, y - palette.disc_height)
    if night:
        for _ in range(14):
            star_x, star_y = rng.uniform(0.02, 0.98), rng.uniform(0.02, 0.40)
            near = np.hypot(x - star_x, y - star_y) < rng.uniform(0.006, 0.011)
            sky = _mix(sky, _rgb((0.80, 0.82, 0.88)), near.astype(np.float32))
    sky = _mix(sky, _rgb(palette.disc), palette.glow * np.exp(-((distance / (2.2 * palette.disc_radius)) ** 2)))
    return _mix(sky, _rgb(palette.disc), (distance < palette.disc_radius).astype(np.float32))


def _waves(x: Picture, rng: np.random.Generator, count: int, lowest: float, highest: float) -> Picture:
    """A smooth random curve over x, between -1 and 1: a sum of sines with random phases."""
    total = np.zeros_like(x)
    for _ in range(count):
        total += np.sin(2 * np.pi * (rng.uniform(lowest, highest) * x + rng.uniform()))
    return (total / count).astype(np.float32)


def _ground(picture: Picture, below: Picture, far: Picture, near: Picture, y: Picture, line: float) -> Picture:
    """Ground below a line, from its far to its near colour."""
    depth = np.clip((y - line) / (1 - line), 0, 1) ** 0.8
    shade = _mix(np.broadcast_to(far, picture.shape), near, depth)
    return _mix(picture, shade, below)


def _above(y: Picture, line: Picture | float) -> Picture:
    return np.asarray(y > line, dtype=np.float32)


def _meadow(picture: Picture, x: Picture, y: Picture, light: Picture, rng: np.random.Generator) -> Picture:
    hills = HORIZON - 0.035 + 0.05 * _waves(x, rng, 3, 0.7, 2.0)
    picture = _mix(picture, _rgb((0.38, 0.56, 0.30)) * light, _above(y, hills))
    picture = _ground(
        picture, _above(y, HORIZON), _rgb((0.50, 0.68, 0.33)) * light, _rgb((0.34, 0.53, 0.22)) * light, y, HORIZON
    )
    blades = 0.05 * _above(y, HORIZON) * (_waves(x + 0.3 * y, rng, 3, 3, 7) * _waves(y, rng, 2, 4, 8))
    return np.asarray(picture * (1 + blades[..., None]), dtype=np.float32)


def _desert(picture: Picture, x: Picture, y: Picture, light: Picture, rng: np.random.Generator) -> Picture:
    ridges = HORIZON - 0.02 + 0.035 * _waves(x, rng, 2, 0.6, 1.4)
    picture = _mix(picture, _rgb((0.76, 0.60, 0.42)) * light, _above(y, ridges))
    picture = _ground(
        picture, _above(y, HORIZON), _rgb((0.93, 0.80, 0.57)) * light, _rgb((0.82, 0.66, 0.43)) * light, y, HORIZON
    )
    ripples = 0.05 * _above(y, HORIZON) * np.sin(2 * np.pi * (11 * y**1.5 + 0.5 * _waves(x, rng, 3, 0.8, 2.5)))
    return picture * (1 + ripples[..., None]).astype(np.float32)


def _snow(picture: Picture, x: Picture, y: Picture, light: Picture, rng: np.random.Generator) -> Picture:
    peaks = np.full_like(x, HORIZON)
    for _ in range(6):
        top, middle, slope = rng.uniform(0.33, 0.43), rng.uniform(0, 1), rng.uniform(0.7, 1.3)
        peaks = np.minimum(peaks, top + slope * np.abs(x - middle))
    rock = _mix(picture, _rgb((0.50, 0.58, 0.70)) * light, _above(y, peaks))
    caps = _above(y, peaks) * (y < peaks + 0.045 + 0.01 * _waves(x, rng, 3, 5, 9))
    picture = _mix(rock, _rgb((0.93, 0.95, 0.99)) * light, caps.astype(np.float32))
    return _ground(
        picture, _above(y, HORIZON), _rgb((0.82, 0.87, 0.94)) * light, _rgb((0.97, 0.98, 1.0)) * light, y, HORIZON
    )


def _sea(picture: Picture, x: Picture, y: Picture, light: Picture, rng: np.random.Generator) -> Picture:
    picture = _ground(
        picture, _above(y, HORIZON), _rgb((0.34, 0.58, 0.68)) * light, _rgb((0.10, 0.33, 0.46)) * light, y, HORIZON
    )
    swell = np.sin(2 * np.pi * (15 * y**1.6 + 0.8 * _waves(x, rng, 3, 1.0, 3.0)))
    crests = 0.11 * _above(y, HORIZON + 0.01) * (swell * _waves(x, rng, 3, 2, 5))
    return picture * (1 + crests[..., None]).astype(np.float32)


def _city(picture: Picture, x: Picture, y: Picture, light: Picture, rng: np.random.Generator) -> Picture:
    night = float(light.mean()) < 0.45
    left = -0.02
    wall = _rgb((0.52, 0.53, 0.58)) * light if not night else _rgb((0.10, 0.11, 0.17))
    pane = _rgb((0.90, 0.80, 0.50)) if night else _rgb((0.34, 0.37, 0.45)) * light
    while left < 1:
        width, top = rng.uniform(0.09, 0.15), rng.uniform(0.24, 0.42)
        inside = (x >= left) & (x < left + width - 0.008) & (y > top)
        picture = _mix(picture, wall * rng.uniform(0.85, 1.15), inside.astype(np.float32))
        column, row = (x - left - 0.012) / 0.03, (y - top - 0.015) / 0.034
        window = (column % 1 < 0.55) & (row % 1 < 0.55) & (x < left + width - 0.02) & (column > 0) & (row > 0)
        picture = _mix(picture, pane, (inside & window & (y < HORIZON - 0.01)).astype(np.float32))
        left += width
    return _ground(
        picture, _above(y, HORIZON), _rgb((0.62, 0.62, 0.64)) * light, _rgb((0.44, 0.44, 0.47)) * light, y, HORIZON
    )


def _forest(picture: Picture, x: Picture, y: Picture, light: Picture, rng: np.random.Generator) -> Picture:
    for row, (shade, lift) in enumerate((((0.19, 0.36, 0.27), 0.05), ((0.09, 0.24, 0.16), 0.0))):
        centre = -0.05
        trees = np.zeros_like(x)
        while centre < 1.08:
            top, half = rng.uniform(0.27, 0.36) - lift + 0.04 * row, rng.uniform(0.045, 0.07)
            reach = np.clip((y - top) / (HORIZON - top), 0, 1)
            trees = np.maximum(trees, ((np.abs(x - centre) < half * reach) & (y > top)).astype(np.float32))
            centre += rng.uniform(0.06, 0.10)
        picture = _mix(picture, _rgb(shade) * light, trees)
    return _ground(
        picture, _above(y, HORIZON), _rgb((0.20, 0.34, 0.17)) * light, _rgb((0.28, 0.42, 0.20)) * light, y, HORIZON
    )


_DRAWERS: Final = (_meadow, _desert, _snow, _sea, _city, _forest)


def backdrop(scene: int, time: int, *, variant: int) -> Picture:
    """The still picture [SIZE,SIZE,3] of a scene at a time of day, in [0,1]."""
    if not (0 <= scene < len(SCENES) and 0 <= time < len(TIMES)):
        raise ValueError(f"expected a scene below {len(SCENES)} and a time below {len(TIMES)}, got {scene} and {time}")
    rng = np.random.default_rng((scene, time, variant, 11))
    large = SIZE * OVERSAMPLING
    x, y = _grid(large)
    palette = PALETTES[time]
    picture = _sky(palette, x, y, rng, night=TIMES[time] == "night")
    picture = _DRAWERS[scene](picture, x, y, _rgb(palette.light), rng)
    small = picture.reshape(SIZE, OVERSAMPLING, SIZE, OVERSAMPLING, 3).mean(axis=(1, 3))
    return _limit_chroma(np.clip(small, 0, 1).astype(np.float32))


def _limit_chroma(picture: Picture) -> Picture:
    """Pull pixels whose chroma is above the limit towards their own grey."""
    chroma = picture.max(axis=-1) - picture.min(axis=-1)
    grey = picture.mean(axis=-1, keepdims=True)
    share = np.minimum(1.0, BACKDROP_CHROMA / np.maximum(chroma, 1e-6))[..., None]
    limited: Picture = (grey + (picture - grey) * share).astype(np.float32)
    return limited


def all_backdrops(variants: int = VARIANTS) -> Picture:
    """Every backdrop [scenes, times, variants, SIZE, SIZE, 3]."""
    return np.stack(
        [
            np.stack([np.stack([backdrop(s, t, variant=v) for v in range(variants)]) for t in range(len(TIMES))])
            for s in range(len(SCENES))
        ]
    )
