"""The stages `single` and `causal`: rows of blocks at random noise levels, drawn from a pool of rendered clips.

Knows the pool, the rows and the loss; how a run is kept is in run.py. Models for inference know nothing of it.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.attention import Attend, FullAttention
from models.rope import Rotation
from models.train.batches import Drawn, draw
from models.train.bundle import Bundle
from models.train.losses import RowErrors, row_loss
from models.train.optim import Optimiser
from models.train.pool import BLOCK_FRAMES, ClipPool
from models.train.rows import GatheredWindows, TokenGrid, row_rotation, sink_rotation
from models.train.run import Stateful, Trainer, rounded_mean
from models.train.settings import StageConfig

LEVEL_EDGES: Final = (0.4, 0.6, 0.8, 0.95)
"""Noise levels that split the logged errors into five groups, pure noise last."""


@dataclass(frozen=True, slots=True)
class RowLine:
    """What a line of the log tells: means since the line before."""

    loss: float
    gradient_norm: float
    whole_error: list[float | None]
    """Mean squared error of the whole picture in five groups of noise levels, low to high."""
    object_error: list[float | None]


@dataclass(slots=True)
class Tally:
    """Sums for the next log line."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    sigma: list[Tensor] = field(default_factory=list)
    errors: list[RowErrors] = field(default_factory=list)

    def line(self) -> RowLine:
        """The means, and none where no row had such a level."""
        sigma = torch.cat(self.sigma)
        group = torch.bucketize(sigma, torch.tensor(LEVEL_EDGES, device=sigma.device))
        whole = torch.cat([errors.whole for errors in self.errors])
        on_object = torch.cat([errors.object for errors in self.errors])
        groups = range(len(LEVEL_EDGES) + 1)
        return RowLine(
            loss=round(sum(self.losses) / len(self.losses), 5),
            gradient_norm=round(sum(self.norms) / len(self.norms), 4),
            whole_error=[rounded_mean(whole[group == index]) for index in groups],
            object_error=[rounded_mean(on_object[group == index]) for index in groups],
        )


class RowTrainer(Trainer):
    """Stages `single` and `causal`."""

    def set_up(self) -> None:
        self.optimiser = make_optimiser(self.bundle, self.config)
        self.pool = ClipPool(self.config.pool, self.renderer, codec=self.bundle.codec)
        self.grid = token_grid(self.bundle, self.config)
        self.tally = Tally()

    def begin(self) -> None:
        self.pool.fill(self.generator)

    def parts(self) -> dict[str, Stateful]:
        return {"optimiser": self.optimiser, "pool": self.pool}

    def average(self) -> dict[str, Tensor]:
        return averaged(self.bundle, self.optimiser)

    def train_step(self) -> None:
        """Draw a pass, take its loss, update, and renew a part of the pool."""
        drawn = draw(
            self.config.batch,
            self.pool,
            encoder=self.bundle.text_encoder,
            levels=self.config.levels,
            generator=self.generator,
        )
        rope, attend = attention_for(drawn, self.grid, device=self.device)
        rows = drawn.rows.to(self.device)
        loss, errors = row_loss(
            self.bundle.transformer,
            self.bundle.text_encoder,
            batch=rows,
            rope=rope,
            attend=attend,
            object_weight=self.config.object_weight,
        )
        loss.backward()
        norm = self.optimiser.step(self.step, self.progress)
        self.pool.refresh(self.config.pool.fresh, self.generator)
        noisy = drawn.tables.noisy
        self.tally.losses.append(float(loss.detach()))
        self.tally.norms.append(norm)
        self.tally.sigma.append(rows.sigma[noisy])
        self.tally.errors.append(RowErrors(whole=errors.whole[noisy], object=errors.object[noisy]))

    def log_line(self) -> dict[str, Any]:
        line, self.tally = self.tally.line(), Tally()
        return asdict(line)


def token_grid(bundle: Bundle, config: StageConfig) -> TokenGrid:
    """Sizes for rotations; a block has fewer frames where the stage trains on fewer."""
    alone = config.batch.streams + config.batch.switches == 0
    frames = config.batch.single_frames if alone else BLOCK_FRAMES
    return TokenGrid(bundle.transformer.config.head_dim, frames, config.sizes.rows, config.sizes.columns)


def attention_for(drawn: Drawn, grid: TokenGrid, *, device: torch.device) -> tuple[Rotation, Attend]:
    """Rotations and attention of a pass: plain where every row sees itself alone, gathered windows otherwise."""
    tables = drawn.tables
    rope = row_rotation(grid, tables.place).to(device)
    if bool((tables.window[:, 1:] < 0).all()):
        return Rotation(rope.cos_N1P[0], rope.sin_N1P[0]), FullAttention()
    return rope, GatheredWindows(tables.window.to(device), sink_rotation(grid, tables.sink_shift).to(device))


def make_optimiser(bundle: Bundle, config: StageConfig) -> Optimiser:
    """Muon for the matrices inside the transformer's blocks, AdamW for all else; the codec stays as fitted."""
    blocks = bundle.transformer.blocks
    matrices = [parameter for parameter in blocks.parameters() if parameter.ndim == 2]
    inside = {id(parameter) for parameter in matrices}
    others = [parameter for _, parameter in trained_parameters(bundle) if id(parameter) not in inside]
    return Optimiser(matrices, others, rates=config.rates)


def trained_parameters(bundle: Bundle) -> list[tuple[str, nn.Parameter]]:
    """Trained parameters with their full names."""
    parts = (("transformer.", bundle.transformer), ("text_encoder.", bundle.text_encoder))
    return [(prefix + name, parameter) for prefix, module in parts for name, parameter in module.named_parameters()]


def averaged(bundle: Bundle, optimiser: Optimiser) -> dict[str, Tensor]:
    """The bundle's state with the averaged weights in place of the present ones."""
    state = bundle.state()
    average = {id(parameter): mean for parameter, mean in zip(optimiser.parameters, optimiser.average, strict=True)}
    for name, parameter in trained_parameters(bundle):
        state[name] = average[id(parameter)].clone()
    return state
