"""A run of one stage: a folder with a checkpoint, a log and sheets; a loop with a wall-clock budget; exact resuming.

Knows how runs begin, stop and go on; what a step does is a stage's own (pretrain.py, decoder.py, distill.py, long.py).
A checkpoint holds everything the next step depends on, so a resumed run makes the same steps as one that was never
stopped. A run starts from new weights, from another run's average, or from an exported file of weights.
"""

import json
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from models.train import parallel
from models.train.bundle import Bundle, empty_bundle, new_bundle
from models.train.render import Renderer
from models.train.sampling import Sampling, first_block_frames, write_sheet
from models.train.settings import StageConfig
from models.train.world import attributes_of, plain_caption, sample_attributes
from models.weights import read_safetensors

CHECKPOINT: Final = "checkpoint.pt"
LOG: Final = "log.jsonl"
SHEET: Final = "sheet.png"
WEIGHTS_NAME: Final = "demo.safetensors"
SHEET_SEED: Final = 42

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """A part of a run that goes into its checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Trainer(ABC):
    """One stage of training in one folder."""

    def __init__(
        self, config: StageConfig, folder: Path, *, resume: bool = False, renderer: Renderer | None = None
    ) -> None:
        self.config = config
        self.folder = folder
        self.device = torch.device(config.device)
        folder.mkdir(parents=True, exist_ok=True)
        parallel.join(self.device)
        self.rank = parallel.rank()
        self.generator = torch.Generator().manual_seed(config.seed + self.rank)
        self.renderer = renderer or Renderer(self.device)
        self.step = 0
        self.seconds = 0.0
        saved: dict[str, Any] | None = None
        if resume:
            saved = torch.load(self._checkpoint, weights_only=True)
        elif self._checkpoint.exists():
            raise ValueError(f"expected {folder} without a checkpoint, found one: --resume or choose another folder")
        self.load(saved)
        self.set_up()
        if saved is not None:
            self._restore(saved)
        else:
            self.begin()

    def load(self, saved: dict[str, Any] | None) -> None:
        """Make the networks: from a checkpoint, from where the run starts, or new."""
        self.bundle = self._bundle(saved).to(self.device)

    @abstractmethod
    def set_up(self) -> None:
        """Make optimisers and data for the bundle, which has its weights."""

    @abstractmethod
    def begin(self) -> None:
        """Fill what a new run needs filled and a resumed one reads from its checkpoint."""

    @abstractmethod
    def parts(self) -> dict[str, Stateful]:
        """What the checkpoint holds besides the weights, by name."""

    def weights(self) -> dict[str, Tensor]:
        """The bundle's state."""
        return self.bundle.state()

    @abstractmethod
    def average(self) -> dict[str, Tensor]:
        """The bundle's state with averaged weights where they are trained."""

    @abstractmethod
    def train_step(self) -> None:
        """One update."""

    @abstractmethod
    def log_line(self) -> dict[str, Any]:
        """Means since the last line, which begins them anew."""

    @property
    def progress(self) -> float:
        """How much of the time budget is used."""
        return self.seconds / (60 * self.config.minutes) if self.config.minutes else 1.0

    @property
    def _checkpoint(self) -> Path:
        """Each process has its own: data and random numbers differ, weights do not."""
        return self.folder / (f"checkpoint-{self.rank}.pt" if self.rank else CHECKPOINT)

    def _bundle(self, saved: dict[str, Any] | None) -> Bundle:
        if saved is None and not self.config.start:
            return new_bundle(self.config.sizes, self.renderer, seed=self.config.seed)
        bundle = empty_bundle(self.config.sizes, self.config.seed)
        bundle.load(saved["weights"] if saved is not None else load_average(Path(self.config.start)))
        return bundle

    def _restore(self, saved: dict[str, Any]) -> None:
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])
        self.generator.set_state(saved["generator"])
        self.step, self.seconds = int(saved["step"]), float(saved["seconds"])

    def save(self) -> None:
        """Write the checkpoint, all or nothing."""
        state = {
            "weights": self.weights(),
            "average": self.average(),
            **{name: part.state_dict() for name, part in self.parts().items()},
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        beside = self._checkpoint.with_suffix(".new")
        torch.save(state, beside)
        os.replace(beside, self._checkpoint)
        if self.config.sheet_clips > 0 and self.rank == 0:
            self.write_sheet(self.folder / SHEET)

    def write_sheet(self, path: Path) -> None:
        """A contact sheet of the averaged weights; first blocks unless the stage knows better."""
        write_run_sheet(self.folder, path, config=self.config)

    def run(self, *, last_step: int | None = None) -> None:
        """Train until the budget (or `last_step`) is used up; saves at the end and every so often."""
        saved_at = self.seconds
        while self.seconds < 60 * self.config.minutes and (last_step is None or self.step < last_step):
            began = time.monotonic()
            self.train_step()
            self.step += 1
            self.seconds += parallel.as_first(time.monotonic() - began, self.device)
            if self.step % self.config.log_every == 0:
                self._log()
            if self.seconds - saved_at >= self.config.save_every:
                self.save()
                saved_at = self.seconds
        self.save()

    def _log(self) -> None:
        head = {"stage": self.config.stage, "step": self.step, "seconds": round(self.seconds, 1)}
        line = json.dumps({**head, **self.log_line()})
        if self.rank > 0:
            return
        with open(self.folder / LOG, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        logger.info("%s", line)


def write_run_sheet(folder: Path, path: Path, *, config: StageConfig) -> None:
    """A contact sheet of first blocks from a run's averaged weights, always of the same prompts and noise."""
    bundle = empty_bundle(config.sizes, config.seed)
    bundle.load(load_average(folder))
    chosen = sample_attributes(max(1, config.sheet_clips), torch.Generator().manual_seed(SHEET_SEED))
    prompts = [plain_caption(attributes_of(row)) for row in chosen]
    write_sheet(path, first_block_frames(bundle, prompts, sampling=Sampling(shift=config.shift)))


def load_average(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of a run, or those of the exported file that `folder` holds instead of a checkpoint."""
    if (folder / CHECKPOINT).exists():
        saved: dict[str, Any] = torch.load(folder / CHECKPOINT, weights_only=True)
        average: dict[str, Tensor] = saved["average"]
        return average
    exported = read_safetensors(folder / WEIGHTS_NAME)
    return {name: tensor.float() for name, tensor in exported.tensors.items()}


def rounded_mean(values: Tensor) -> float | None:
    """For the log: None where there is nothing."""
    return round(float(values.mean()), 5) if values.numel() else None
