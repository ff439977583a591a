"""Which blocks a training pass holds and which of them each may see: teacher forcing with gathered windows.

Knows blocks as rows of a batch and integers; the only tensors are keys and values that are gathered. A row is one
block at one noise level under one prompt. Clean rows stand for what the cache would hold, noisy rows carry the
loss. The windows and positions are those of `relative` positions at inference: the sink stands directly before the
window, and after a switch the blocks in the cache are rebuilt under the new prompt, each seeing all of them
(recache).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.rope import Rotation, rotate, time_rotation, video_rotation

WINDOW_BLOCKS: Final = 4
"""Sink, two past blocks and the block itself."""


@dataclass(frozen=True, slots=True)
class Row:
    """One block of a pass."""

    block: int
    """Which block of the clip is shown."""
    place: int
    """Its position in blocks, counted along the scene without the part that was left out after the sink."""
    noisy: bool
    new_prompt: bool
    window: tuple[int, ...]
    """Rows it sees, itself among them, as offsets within the sample's list; the sink first."""
    sink_shift: int = 0
    """Blocks by which the sink's keys are moved so that they stand directly before the window."""


def window_places(place: int) -> tuple[int, ...]:
    """Places that the block at `place` sees in a stream, itself last."""
    return (*((0,) if place > 0 else ()), *range(max(1, place - 2), place), place)


def stream_shift(place: int) -> int:
    """How far the sink is moved for the block at `place`."""
    return max(0, place - (WINDOW_BLOCKS - 1))


def single_row(block: int) -> tuple[Row, ...]:
    """A first block on its own."""
    return (Row(block=block, place=0, noisy=True, new_prompt=False, window=(0,)),)


def streamed_rows(blocks: Sequence[int], noisy_places: Sequence[int]) -> tuple[Row, ...]:
    """A stream without a switch: clean rows for all but the last block, noisy rows at the given places."""
    rows = [
        Row(
            block=blocks[place],
            place=place,
            noisy=False,
            new_prompt=False,
            window=window_places(place),
            sink_shift=stream_shift(place),
        )
        for place in range(max(noisy_places))
    ]
    clean = {place: place for place in range(len(rows))}
    return (*rows, *_noisy_rows(blocks, noisy_places, clean, first=len(rows), new_prompt=False))


def _noisy_rows(
    blocks: Sequence[int], places: Sequence[int], clean: dict[int, int], first: int, new_prompt: bool
) -> list[Row]:
    rows = []
    for offset, place in enumerate(places):
        past = tuple(clean[earlier] for earlier in window_places(place)[:-1])
        rows.append(
            Row(
                block=blocks[place],
                place=place,
                noisy=True,
                new_prompt=new_prompt,
                window=(*past, first + offset),
                sink_shift=stream_shift(place),
            )
        )
    return rows


def switched_rows(blocks: Sequence[int], switch: int, *, after: int) -> tuple[Row, ...]:
    """A switch with recache before the block at place `switch`, and `after` noisy blocks from there on.

    While the window still reaches back to the first block (switch <= 4) the sink is rebuilt too; later it keeps
    the keys of its own first pass, made under the old prompt.
    """
    rebuilt_sink = switch <= WINDOW_BLOCKS
    rows: list[Row] = []
    clean: dict[int, int] = {}
    if not rebuilt_sink:
        rows.append(Row(block=blocks[0], place=0, noisy=False, new_prompt=False, window=(0,)))
        clean[0] = 0
    held = range(switch) if rebuilt_sink else range(switch - (WINDOW_BLOCKS - 1), switch)
    for place in held:
        clean[place] = len(clean)
    window = tuple(clean[place] for place in sorted(clean))
    shift = max(0, switch - WINDOW_BLOCKS)
    rows += [
        Row(block=blocks[place], place=place, noisy=False, new_prompt=True, window=window, sink_shift=shift)
        for place in held
    ]
    for place in range(switch, switch + after - 1):
        clean[place] = len(rows)
        seen = tuple(clean[earlier] for earlier in window_places(place))
        rows.append(
            Row(
                block=blocks[place],
                place=place,
                noisy=False,
                new_prompt=True,
                window=seen,
                sink_shift=stream_shift(place),
            )
        )
    places = range(switch, switch + after)
    return (*rows, *_noisy_rows(blocks, places, clean, first=len(rows), new_prompt=True))


@dataclass(frozen=True, slots=True)
class RowTables:
    """The rows of a whole pass as tensors [R] and [R, WINDOW_BLOCKS]; -1 in a window means nothing is there."""

    clip: Tensor
    block: Tensor
    place: Tensor
    noisy: Tensor
    new_prompt: Tensor
    window: Tensor
    sink_shift: Tensor


def tabulate(samples: Sequence[tuple[int, tuple[Row, ...]]]) -> RowTables:
    """Tables of several samples, each a clip's number and its rows."""
    clip, window = [], []
    flat: list[Row] = []
    for number, rows in samples:
        first = len(flat)
        for row in rows:
            seen = [first + offset for offset in row.window]
            window.append(seen + [-1] * (WINDOW_BLOCKS - len(seen)))
            clip.append(number)
        flat.extend(rows)
    return RowTables(
        clip=torch.tensor(clip),
        block=torch.tensor([row.block for row in flat]),
        place=torch.tensor([row.place for row in flat]),
        noisy=torch.tensor([row.noisy for row in flat]),
        new_prompt=torch.tensor([row.new_prompt for row in flat]),
        window=torch.tensor(window),
        sink_shift=torch.tensor([row.sink_shift for row in flat]),
    )


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """Sizes that rotations need."""

    head_dim: int
    block_frames: int
    rows: int
    columns: int


def row_rotation(grid: TokenGrid, place_R: Tensor) -> Rotation:
    """The rotation of every row's tokens at its place, [R, N, 1, P]."""
    most = int(place_R.max()) + 1
    table = video_rotation(grid.head_dim, range(most * grid.block_frames), rows=grid.rows, columns=grid.columns)
    cos, sin = (part.unflatten(0, (most, -1))[place_R] for part in (table.cos_N1P, table.sin_N1P))
    return Rotation(cos, sin)


def sink_rotation(grid: TokenGrid, shift_R: Tensor) -> Rotation:
    """The rotation that moves each row's view of the sink, [R, 1, 1, P]."""
    shifts = [time_rotation(grid.head_dim, blocks * grid.block_frames) for blocks in range(int(shift_R.max()) + 1)]
    cos = torch.stack([shift.cos_N1P for shift in shifts])[shift_R]
    sin = torch.stack([shift.sin_N1P for shift in shifts])[shift_R]
    return Rotation(cos, sin)


class GatheredWindows:
    """Attention of every row to the rows of its window; rows that see another's sink see it moved."""

    def __init__(self, window_RW: Tensor, sink_turn: Rotation) -> None:
        self.window = window_RW.clamp(min=0)
        self.present = window_RW >= 0
        self.sink_turn = sink_turn

    def attend(self, layer: int, q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor) -> Tensor:
        del layer
        tokens = k_BNHD.shape[1]
        keys, values = k_BNHD[self.window], v_BNHD[self.window]  # [R, W, N, H, D]
        keys = torch.cat([rotate(keys[:, 0], self.sink_turn)[:, None], keys[:, 1:]], dim=1)
        seen = self.present[:, None, None, :, None].expand(-1, 1, 1, -1, tokens).flatten(3)
        out = scaled_dot_product_attention(
            q_BNHD.transpose(1, 2),
            keys.flatten(1, 2).transpose(1, 2),
            values.flatten(1, 2).transpose(1, 2),
            attn_mask=seen,
        )
        return out.transpose(1, 2)
