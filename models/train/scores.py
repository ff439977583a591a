"""What teacher and critic make of a stretch of blocks: their x0 for every block, given the clean ones before it.

Both are block-causal models of the generator's own kind, so the score of a stretch is that of each block after the
others, all in one teacher-forced pass (rows.py). A stretch is numbered from 0 wherever in a stream it lies: the
teacher is set back to the short clips it knows, its sink the stretch's first block. Knows nothing of losses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cache.text_kv import TextKeysValues
from models.train.losses import predict_x0
from models.train.pool import BLOCK_FRAMES
from models.train.rows import GatheredWindows, TokenGrid, row_rotation, sink_rotation, streamed_rows, tabulate
from models.transformer import Transformer


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks in a row, and from which of them on they are scored."""

    latents: Tensor
    """[B, K x frames, C, H, W], final."""
    first_new: int
    """The number of the first block that is scored; those before it are only seen."""

    @property
    def scored(self) -> Tensor:
        """The latents that are scored."""
        return self.latents[:, self.first_new * BLOCK_FRAMES :]


class StretchScorer:
    """The tables of stretches of one shape, made once."""

    def __init__(self, grid: TokenGrid, *, streams: int, blocks: int, first_new: int, device: torch.device) -> None:
        self.streams, self.blocks, self.first_new = streams, blocks, first_new
        rows = streamed_rows(range(blocks), range(first_new, blocks))
        tables = tabulate([(stream, rows) for stream in range(streams)])
        self.noisy = tables.noisy.to(device)
        self.stream = tables.clip.to(device)
        self.rope = row_rotation(grid, tables.place).to(device)
        self.attend = GatheredWindows(tables.window.to(device), sink_rotation(grid, tables.sink_shift).to(device))

    def __call__(
        self, transformer: Transformer, stretch: Stretch, noisy: Tensor, *, sigma_B: Tensor, text: TextKeysValues
    ) -> Tensor:
        """x0 [B, scored frames, C, H, W] for the scored blocks with noise of a level for each stream."""
        seen = stretch.latents.unflatten(1, (self.blocks, BLOCK_FRAMES))[:, : self.blocks - 1]
        given = torch.cat([seen, noisy.unflatten(1, (-1, BLOCK_FRAMES))], dim=1).flatten(0, 1)
        sigma = torch.where(self.noisy, sigma_B[self.stream], 0.0)
        own = TextKeysValues(text.keys_LBTHD[:, self.stream], text.values_LBTHD[:, self.stream])
        x0 = predict_x0(transformer, given, sigma_R=sigma, text=own, rope=self.rope, attend=self.attend)
        return x0[self.noisy].reshape(self.streams, -1, *x0.shape[2:])
