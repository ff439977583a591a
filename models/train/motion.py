"""Where the object is in every frame: four motions, continuous when the motion changes in mid-clip.

Knows positions over time; knows nothing about pixels. A motion is a path given by an anchor and a phase; at a
change the object keeps the place where it was and closes the gap to its new path within a few frames. So a clip may
be of any length, and no position leaves [RADIUS, 1 - RADIUS].
"""

from dataclasses import dataclass
from math import pi
from typing import Final

import torch
from torch import Tensor

from models.train.world import MOTIONS

RADIUS: Final = 0.17
"""Object radius as a share of the picture."""

REST_HEIGHT: Final = 0.70
BOUNCE_HEIGHT: Final = 0.32
CIRCLE_HEIGHT: Final = 0.50
CIRCLE_RADIUS: Final = 0.17
SWAY_REACH: Final = 0.22
FRAMES_PER_CYCLE: Final = {"bounces": 72, "circles": 48, "sways": 48}
"""Frames for phase to grow by two pi; a bounce lands twice in a cycle."""

GAP_KEPT: Final = 0.75
"""Share of the distance to the new path that is left after one frame."""

LOWEST, HIGHEST = RADIUS + 0.01, 1 - RADIUS - 0.01


@dataclass(frozen=True, slots=True)
class Track:
    """Object centres over a batch of clips, as shares of the picture: [B, frames] each."""

    x: Tensor
    y: Tensor


def path(motion_B: Tensor, anchor_B: Tensor, phase_B: Tensor) -> tuple[Tensor, Tensor]:
    """Where each motion's path is at a phase: (x, y)."""
    rest, bounce, circle, sway = (motion_B == MOTIONS.index(name) for name in ("rests", "bounces", "circles", "sways"))
    x = anchor_B + circle * CIRCLE_RADIUS * torch.cos(phase_B) + sway * SWAY_REACH * torch.sin(phase_B)
    y = torch.full_like(anchor_B, REST_HEIGHT)
    y = torch.where(bounce, REST_HEIGHT - BOUNCE_HEIGHT * torch.sin(phase_B).abs(), y)
    y = torch.where(circle, CIRCLE_HEIGHT + CIRCLE_RADIUS * torch.sin(phase_B), y)
    return torch.where(rest, anchor_B, x).clamp(LOWEST, HIGHEST), y.clamp(LOWEST, HIGHEST)


def follow(motion_BT: Tensor, generator: torch.Generator) -> Track:
    """Object centres for motions given per frame, from random anchors and phases."""
    count, frames = motion_BT.shape
    device = motion_BT.device
    anchor = (0.36 + 0.28 * torch.rand(count, generator=generator)).to(device)
    phase = (2 * pi * torch.rand(count, generator=generator)).to(device)
    speeds = torch.tensor([2 * pi / FRAMES_PER_CYCLE.get(name, 48) for name in MOTIONS], device=device)
    gap_x, gap_y = torch.zeros_like(anchor), torch.zeros_like(anchor)
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    for frame in range(frames):
        motion = motion_BT[:, frame]
        if frame > 0 and bool((motion != motion_BT[:, frame - 1]).any()):
            new_x, new_y = path(motion, anchor, phase)
            changed = motion != motion_BT[:, frame - 1]
            gap_x = torch.where(changed, xs[-1] - new_x, gap_x)
            gap_y = torch.where(changed, ys[-1] - new_y, gap_y)
        path_x, path_y = path(motion, anchor, phase)
        xs.append((path_x + gap_x).clamp(LOWEST, HIGHEST))
        ys.append((path_y + gap_y).clamp(LOWEST, HIGHEST))
        gap_x, gap_y = gap_x * GAP_KEPT, gap_y * GAP_KEPT
        phase = phase + speeds[motion]
    return Track(x=torch.stack(xs, dim=1), y=torch.stack(ys, dim=1))
