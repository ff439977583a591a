"""What detectors look at: the colours of rows, the skyline's statistics, and how much each pixel looks like one of the
object's colours.

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
SKYLINE: Final = (11, 25)
"""Rows of the half-size picture (of 48) in which scenes differ by silhouette."""
OBJECT_CHROMA: Final = 0.5
"""More than any backdrop has: such a pixel of the skyline's rows belongs to the object before it."""
QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


def half_size(frames_N3HW: Tensor) -> Tensor:
    """Frames averaged over 2x2 pixels [N,3,48,48]."""
    return avg_pool2d(frames_N3HW, 2)


def row_colours(half_N3HW: Tensor) -> Tensor:
    """Median colour of each of 24 bands of rows [N, 72]: the object covers less than half of any row."""
    bands = half_N3HW.unflatten(2, (ROWS, -1)).permute(0, 2, 1, 3, 4).flatten(3)
    medians: Tensor = bands.median(dim=3).values
    return medians.flatten(1)


def skyline_statistics(half_N3HW: Tensor) -> Tensor:
    """What the skyline's rows hold, the object left out [N, 14 rows * 15 + 14 + 13].

    Five quantiles of each channel in every row (hills, peaks, roofs and tree tops differ in them), and the typical step
    of brightness along each row and from row to row (windows and trees have edges, water has none).
    """
    band = half_N3HW[:, :, SKYLINE[0] : SKYLINE[1]]
    seen = band.masked_fill((_range(band) > OBJECT_CHROMA)[:, None], torch.nan)
    quantiles = torch.nanquantile(seen, torch.tensor(QUANTILES, device=band.device), dim=3)  # [5,N,3,R]
    grey = seen.mean(dim=1)
    along = torch.nanmean((grey[:, :, 1:] - grey[:, :, :-1]).abs(), dim=2)
    between = torch.nanmean((grey[:, 1:] - grey[:, :-1]).abs(), dim=2)
    rows = (quantiles.permute(1, 0, 2, 3).flatten(1).nan_to_num(0.5), along.nan_to_num(), between.nan_to_num())
    return torch.cat(rows, dim=1)


def colour_likeness(half_N3HW: Tensor) -> Tensor:
    """How much each pixel looks like each of the object's colours [N,6,48,48], in [0,1].

    A pixel counts by its chroma (largest minus smallest channel), by how far its tint is from its row's median, which
    is the backdrop's (a blue sky is no blue ball), and by the closeness of its hue direction to the colour's.
    """
    colours = torch.tensor(OBJECT_COLOURS, device=half_N3HW.device)
    direction = _chroma_direction(colours.T[None])[0].T  # [6,3]
    tint = half_N3HW - half_N3HW.mean(dim=1, keepdim=True)
    unit = tint / tint.norm(dim=1, keepdim=True).clamp(min=1e-3)
    cosine = torch.einsum("kc,nchw->nkhw", direction, unit)
    # Neighbouring hues (orange and yellow) are 0.91 apart in cosine: a softmax makes them exclude each other.
    share = (24 * cosine).softmax(dim=1)
    strength = torch.sigmoid((_range(half_N3HW) - 0.30) / 0.05)
    apart = torch.sigmoid((_range(tint - tint.median(dim=3, keepdim=True).values) - 0.25) / 0.05)
    return share * (strength * apart)[:, None] * (cosine > 0.75)


def _range(pictures_N3HW: Tensor) -> Tensor:
    """Largest minus smallest channel [N,H,W]."""
    return pictures_N3HW.amax(dim=1) - pictures_N3HW.amin(dim=1)


def _chroma_direction(colours_NCK: Tensor) -> Tensor:
    offset = colours_NCK - colours_NCK.mean(dim=1, keepdim=True)
    direction: Tensor = offset / offset.norm(dim=1, keepdim=True)
    return direction
