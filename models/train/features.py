"""What detectors look at: rows' colours, rows' texture, and how much each pixel looks like one of the object's
colours.

Knows pixels only. Everything is computed on half-size pictures, which averages noise away. Shapes: N frames, R rows
of the half-size picture.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from models.train.render import OBJECT_COLOURS

HALF: Final = 48
ROWS: Final = 24
SKYLINE: Final = (12, 24)
"""Rows of the half-size picture (of 48) in which scenes differ by silhouette."""


def half_size(frames_N3HW: Tensor) -> Tensor:
    """Frames averaged over 2x2 pixels [N,3,48,48]."""
    return avg_pool2d(frames_N3HW, 2)


def row_colours(half_N3HW: Tensor) -> Tensor:
    """Median colour of each of 24 bands of rows [N, 72]: the object covers less than half of any row."""
    bands = half_N3HW.unflatten(2, (ROWS, -1)).permute(0, 2, 1, 3, 4).flatten(3)
    medians: Tensor = bands.median(dim=3).values
    return medians.flatten(1)


def row_texture(half_N3HW: Tensor) -> Tensor:
    """Typical steps of brightness along the skyline's rows: [N, 12] across and [N, 12] down."""
    grey = half_N3HW.mean(dim=1)[:, SKYLINE[0] - 2 : SKYLINE[1] + 2]
    across = (grey[:, 2:-2, 1:] - grey[:, 2:-2, :-1]).abs()
    down = (grey[:, 3:-1] - grey[:, 2:-2]).abs()
    return torch.cat([across.mean(dim=2), down.mean(dim=2)], dim=1)


def skyline_profile(half_N3HW: Tensor) -> Tensor:
    """Quartiles of brightness in the skyline's rows [N, 36]: hills, peaks, roofs and tree tops differ in them."""
    grey = half_N3HW.mean(dim=1)[:, SKYLINE[0] : SKYLINE[1]]
    quartiles = torch.quantile(grey, torch.tensor([0.25, 0.5, 0.75], device=grey.device), dim=2)
    return quartiles.permute(1, 0, 2).flatten(1)


def colour_likeness(half_N3HW: Tensor) -> Tensor:
    """How much each pixel looks like each of the object's colours [N,6,48,48], in [0,1].

    A pixel counts by its chroma (largest minus smallest channel), which backdrops keep low, times the closeness of its
    hue direction to the colour's.
    """
    colours = torch.tensor(OBJECT_COLOURS, device=half_N3HW.device)
    direction = _chroma_direction(colours.T[None])[0].T  # [6,3]
    grey = half_N3HW.mean(dim=1, keepdim=True)
    offset = half_N3HW - grey
    chroma = half_N3HW.amax(dim=1) - half_N3HW.amin(dim=1)
    unit = offset / offset.norm(dim=1, keepdim=True).clamp(min=1e-3)
    cosine = torch.einsum("kc,nchw->nkhw", direction, unit)
    # Neighbouring hues (orange and yellow) are 0.91 apart in cosine: a softmax makes them exclude each other.
    share = (24 * cosine).softmax(dim=1)
    strength = torch.sigmoid((chroma - 0.42) / 0.06)[:, None]
    return share * strength * (cosine > 0.75)


def _chroma_direction(colours_NCK: Tensor) -> Tensor:
    offset = colours_NCK - colours_NCK.mean(dim=1, keepdim=True)
    direction: Tensor = offset / offset.norm(dim=1, keepdim=True)
    return direction
