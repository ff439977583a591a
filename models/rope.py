"""Rotary positions over time, height and width (longlive-spec 1.3).

A head's D/2 complex pairs are neighbouring elements (2j, 2j+1). They are split over the axes as Wan does: with
n = D/2 pairs, height and width get n // 3 each and time the rest (22/21/21 of 64). An axis with m pairs turns pair j
by position x 10000^(-j/m). Angles are made in float64 and used as float32 cosines and sines: no table that ends, no
complex numbers in the hot path.

Legend: N tokens, P pairs of a head (D/2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

THETA = 10_000.0


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines [N, 1, P] (the 1 is for heads) that turn N tokens to their places."""

    cos_N1P: Tensor
    sin_N1P: Tensor

    def to(self, device: torch.device | str) -> "Rotation":
        return Rotation(self.cos_N1P.to(device), self.sin_N1P.to(device))


def axis_pairs(head_dim: int) -> tuple[int, int, int]:
    """Complex pairs of a head that time, height and width turn."""
    pairs = head_dim // 2
    return pairs - 2 * (pairs // 3), pairs // 3, pairs // 3


def _angles(positions: Tensor, pairs: int) -> Tensor:
    """[len(positions), pairs] float64."""
    frequencies = THETA ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
    return positions.double()[:, None] * frequencies


def video_rotation(head_dim: int, frames: Sequence[int], *, rows: int, columns: int) -> Rotation:
    """The rotation of whole latent frames at temporal positions `frames`, tokens in (frame, row, column) order."""
    time_pairs, row_pairs, column_pairs = axis_pairs(head_dim)
    count = len(frames)
    time = _angles(torch.tensor(list(frames)), time_pairs)[:, None, None].expand(count, rows, columns, time_pairs)
    row = _angles(torch.arange(rows), row_pairs)[None, :, None].expand(count, rows, columns, row_pairs)
    column = _angles(torch.arange(columns), column_pairs)[None, None].expand(count, rows, columns, column_pairs)
    return _rotation(torch.cat([time, row, column], dim=-1).reshape(count * rows * columns, 1, head_dim // 2))


class RotationTable:
    """The rotations of whole latent frames of one size on one device, without its rows and columns made anew.

    Only the few numbers that time turns by are computed on the host and go to the device, without waiting for it.
    Equal to `video_rotation` bit for bit.
    """

    def __init__(self, head_dim: int, *, rows: int, columns: int, device: torch.device | str = "cpu") -> None:
        self._head_dim = head_dim
        self._device = torch.device(device)
        still = video_rotation(head_dim, [0], rows=rows, columns=columns)
        time_pairs, _, _ = axis_pairs(head_dim)
        place = slice(time_pairs, None)
        self._still = Rotation(still.cos_N1P[..., place], still.sin_N1P[..., place]).to(device)

    def at(self, frames: Sequence[int]) -> Rotation:
        """The rotation at temporal positions `frames`, tokens in (frame, row, column) order."""
        time_pairs, _, _ = axis_pairs(self._head_dim)
        angles = _angles(torch.tensor(list(frames)), time_pairs)
        return Rotation(
            self._joined(angles.cos(), self._still.cos_N1P), self._joined(angles.sin(), self._still.sin_N1P)
        )

    def _joined(self, turned_FP: Tensor, still_S1P: Tensor) -> Tensor:
        moved = turned_FP.float()
        if self._device.type == "cuda":
            moved = moved.pin_memory()
        moved = moved.to(self._device, non_blocking=True)
        frames, tokens = moved.shape[0], still_S1P.shape[0]
        time = moved[:, None, None].expand(frames, tokens, 1, -1)
        still = still_S1P[None].expand(frames, -1, -1, -1)
        return torch.cat([time, still], dim=-1).flatten(0, 1)


def time_rotation(head_dim: int, shift: int) -> Rotation:
    """The rotation that moves any token by `shift` temporal positions."""
    time_pairs, row_pairs, column_pairs = axis_pairs(head_dim)
    still = torch.zeros(1, row_pairs + column_pairs, dtype=torch.float64)
    return _rotation(torch.cat([_angles(torch.tensor([shift]), time_pairs), still], dim=-1)[:, None])


def _rotation(angles: Tensor) -> Rotation:
    return Rotation(angles.cos().float(), angles.sin().float())


def rotate(x_NHD: Tensor, rotation: Rotation) -> Tensor:
    """Turn the pairs of [..., N, H, D]; computed in float32, returned in the dtype given."""
    pairs = x_NHD.float().view(*x_NHD.shape[:-1], -1, 2)
    even, odd = pairs[..., 0], pairs[..., 1]
    cos, sin = rotation.cos_N1P, rotation.sin_N1P
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x_NHD.dtype)
