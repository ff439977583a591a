"""The training loop of the stages `single` and `causal`: draw, loss, update, log, save; within a wall-clock budget.

Knows every other file of models/train; models for inference know nothing of it. A run is a folder: `checkpoint.pt`,
`log.jsonl`, sample sheets. A checkpoint holds everything the next step depends on (weights, optimisers, average,
pool, generator, step, seconds used), so a resumed run makes the same steps as one that was never stopped.
"""

import json
import logging
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.attention import Attend, FullAttention
from models.rope import Rotation
from models.train.batches import Drawn, draw
from models.train.bundle import Bundle, empty_bundle, new_bundle
from models.train.losses import RowErrors, row_loss
from models.train.optim import Optimiser
from models.train.pool import BLOCK_FRAMES, ClipPool
from models.train.render import Renderer
from models.train.rows import GatheredWindows, TokenGrid, row_rotation, sink_rotation
from models.train.sampling import Sampling, first_block_frames, write_sheet
from models.train.settings import StageConfig
from models.train.world import attributes_of, plain_caption, sample_attributes

CHECKPOINT: Final = "checkpoint.pt"
LOG: Final = "log.jsonl"
SHEET: Final = "sheet.png"
SHEET_SEED: Final = 42
LEVEL_EDGES: Final = (0.4, 0.6, 0.8, 0.95)
"""Noise levels that split the logged errors into five groups, pure noise last."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log: means since the line before."""

    stage: str
    step: int
    seconds: float
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

    def line(self, stage: str, *, step: int, seconds: float) -> LogLine:
        """The means, and none where no row had such a level."""
        sigma = torch.cat(self.sigma)
        group = torch.bucketize(sigma, torch.tensor(LEVEL_EDGES))
        whole = torch.cat([errors.whole for errors in self.errors])
        on_object = torch.cat([errors.object for errors in self.errors])
        groups = range(len(LEVEL_EDGES) + 1)
        return LogLine(
            stage=stage,
            step=step,
            seconds=round(seconds, 1),
            loss=round(sum(self.losses) / len(self.losses), 5),
            gradient_norm=round(sum(self.norms) / len(self.norms), 4),
            whole_error=[_mean(whole[group == index]) for index in groups],
            object_error=[_mean(on_object[group == index]) for index in groups],
        )


def _mean(values: Tensor) -> float | None:
    return round(float(values.mean()), 5) if values.numel() else None


class Trainer:
    """One stage of training in one folder."""

    def __init__(
        self, config: StageConfig, folder: Path, *, resume: bool = False, renderer: Renderer | None = None
    ) -> None:
        self.config = config
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.renderer = renderer or Renderer()
        self.step = 0
        self.seconds = 0.0
        saved: dict[str, Any] | None = None
        if resume:
            saved = torch.load(folder / CHECKPOINT, weights_only=True)
        elif (folder / CHECKPOINT).exists():
            raise ValueError(f"expected {folder} without a checkpoint, found one: --resume or choose another folder")
        self.bundle = self._bundle(saved)
        self.optimiser = make_optimiser(self.bundle, config)
        self.pool = ClipPool(config.pool, self.renderer, codec=self.bundle.codec)
        self.grid = token_grid(self.bundle, config)
        if saved is not None:
            self._restore(saved)
        else:
            self.pool.fill(self.generator)

    def _bundle(self, saved: dict[str, Any] | None) -> Bundle:
        if saved is None and not self.config.start:
            return new_bundle(self.config.sizes, self.renderer, seed=self.config.seed)
        bundle = empty_bundle(self.config.sizes, self.config.seed)
        bundle.load(saved["weights"] if saved is not None else load_average(Path(self.config.start)))
        return bundle

    def _restore(self, saved: dict[str, Any]) -> None:
        self.optimiser.load_state_dict(saved["optimiser"])
        self.pool.load_state_dict(saved["pool"])
        self.generator.set_state(saved["generator"])
        self.step, self.seconds = int(saved["step"]), float(saved["seconds"])

    def save(self) -> None:
        """Write the checkpoint, all or nothing."""
        state = {
            "weights": self.bundle.state(),
            "average": averaged(self.bundle, self.optimiser),
            "optimiser": self.optimiser.state_dict(),
            "pool": self.pool.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        beside = self.folder / f".{CHECKPOINT}.new"
        torch.save(state, beside)
        os.replace(beside, self.folder / CHECKPOINT)
        if self.config.sheet_clips > 0:
            write_run_sheet(self.folder, self.folder / SHEET, config=self.config)

    def train_step(self, tally: Tally) -> None:
        """Draw a pass, take its loss, update, and renew a part of the pool."""
        drawn = draw(
            self.config.batch,
            self.pool,
            encoder=self.bundle.text_encoder,
            levels=self.config.levels,
            generator=self.generator,
        )
        rope, attend = attention_for(drawn, self.grid)
        loss, errors = row_loss(
            self.bundle.transformer,
            self.bundle.text_encoder,
            batch=drawn.rows,
            rope=rope,
            attend=attend,
            object_weight=self.config.object_weight,
        )
        loss.backward()
        norm = self.optimiser.step(self.step, self.seconds / (60 * self.config.minutes))
        self.pool.refresh(self.config.pool.fresh, self.generator)
        noisy = drawn.tables.noisy
        tally.losses.append(float(loss.detach()))
        tally.norms.append(norm)
        tally.sigma.append(drawn.rows.sigma[noisy])
        tally.errors.append(RowErrors(whole=errors.whole[noisy], object=errors.object[noisy]))
        self.step += 1

    def run(self, *, last_step: int | None = None) -> None:
        """Train until the budget (or `last_step`) is used up; saves at the end and every so often."""
        tally, saved_at = Tally(), self.seconds
        while self.seconds < 60 * self.config.minutes and (last_step is None or self.step < last_step):
            began = time.monotonic()
            self.train_step(tally)
            self.seconds += time.monotonic() - began
            if self.step % self.config.log_every == 0:
                self._log(tally)
                tally = Tally()
            if self.seconds - saved_at >= self.config.save_every:
                self.save()
                saved_at = self.seconds
        self.save()

    def _log(self, tally: Tally) -> None:
        line = tally.line(self.config.stage, step=self.step, seconds=self.seconds)
        with open(self.folder / LOG, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(line)) + "\n")
        logger.info("step %d, %.0f s, loss %.4f, object %s", line.step, line.seconds, line.loss, line.object_error)


def token_grid(bundle: Bundle, config: StageConfig) -> TokenGrid:
    """Sizes for rotations; a block has fewer frames where the stage trains on fewer."""
    alone = config.batch.streams + config.batch.switches == 0
    frames = config.batch.single_frames if alone else BLOCK_FRAMES
    return TokenGrid(bundle.transformer.config.head_dim, frames, config.sizes.rows, config.sizes.columns)


def attention_for(drawn: Drawn, grid: TokenGrid) -> tuple[Rotation, Attend]:
    """Rotations and attention of a pass: plain where every row sees itself alone, gathered windows otherwise."""
    rope = row_rotation(grid, drawn.tables.place)
    if bool((drawn.tables.window[:, 1:] < 0).all()):
        return Rotation(rope.cos_N1P[0], rope.sin_N1P[0]), FullAttention()
    return rope, GatheredWindows(drawn.tables.window, sink_rotation(grid, drawn.tables.sink_shift))


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


def write_run_sheet(folder: Path, path: Path, *, config: StageConfig) -> None:
    """A contact sheet of first blocks from a run's averaged weights, always of the same prompts and noise."""
    bundle = empty_bundle(config.sizes, config.seed)
    bundle.load(load_average(folder))
    chosen = sample_attributes(max(1, config.sheet_clips), torch.Generator().manual_seed(SHEET_SEED))
    prompts = [plain_caption(attributes_of(row)) for row in chosen]
    write_sheet(path, first_block_frames(bundle, prompts, sampling=Sampling(shift=config.shift)))


def load_average(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of a run."""
    saved: dict[str, Any] = torch.load(folder / CHECKPOINT, weights_only=True)
    average: dict[str, Tensor] = saved["average"]
    return average
