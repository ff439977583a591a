"""The stage `decoder`: the refining decoder learns to draw the clip from the latents that the transformer gives.

The transformer and the linear codec stay as they are. The loss is the difference of pixels and of their differences
to the neighbours (edges), more where the object is. Knows pairs and the decoder; how a run is kept is in run.py.
"""

from typing import Any

import torch
from torch import Tensor

from models.config import SamplerConfig
from models.sampler import make_schedule
from models.train.anchored import PairPool
from models.train.cuts import cut_squares, picture_loss
from models.train.optim import Optimiser
from models.train.run import Stateful, Trainer
from models.train.sampling import FOUR_STEPS


class DecoderTrainer(Trainer):
    """Stage `decoder`."""

    def set_up(self) -> None:
        self.bundle.transformer.requires_grad_(False)
        self.bundle.text_encoder.requires_grad_(False)
        network = self.bundle.codec.network
        self.names = [f"codec.network.{name}" for name, _ in network.named_parameters()]
        self.optimiser = Optimiser([], list(network.parameters()), rates=self.config.rates)
        schedule = make_schedule(SamplerConfig(steps=FOUR_STEPS, shift=self.config.shift))
        self.pairs = PairPool(self.config.pairs, self.renderer, bundle=self.bundle, schedule=schedule)
        self.losses: list[float] = []
        self.errors: list[tuple[float, float]] = []

    def begin(self) -> None:
        self.pairs.fill(self.generator)

    def parts(self) -> dict[str, Stateful]:
        return {"optimiser": self.optimiser, "pairs": self.pairs}

    def average(self) -> dict[str, Tensor]:
        state = self.bundle.state()
        state.update({name: mean.clone() for name, mean in zip(self.names, self.optimiser.average, strict=True)})
        return state

    def train_step(self) -> None:
        """Cut squares, draw them, update; a new rollout every so often."""
        batch = self.config.decoder
        if self.step > 0 and self.step % batch.refresh_every == 0:
            self.pairs.refresh(self.generator)
        cut = cut_squares(batch, self.pairs, generator=self.generator).to(self.device)
        made = self.bundle.codec.clip(cut.latents)
        loss = picture_loss(made, cut.frames, mask=cut.masks, object_weight=self.config.object_weight)
        loss.backward()
        self.optimiser.step(self.step, self.progress)
        with torch.no_grad():
            linear = self.bundle.codec.linear_picture(cut.latents.flatten(0, 1)).view_as(cut.frames)
            self.errors.append((_error(made, cut.frames), _error(linear, cut.frames)))
        self.losses.append(float(loss.detach()))

    def log_line(self) -> dict[str, Any]:
        made, linear = (sum(values) / len(values) for values in zip(*self.errors, strict=True))
        line = {
            "loss": round(sum(self.losses) / len(self.losses), 5),
            "error": round(made, 5),
            "linear_error": round(linear, 5),
        }
        self.losses, self.errors = [], []
        return line


def _error(made: Tensor, target: Tensor) -> float:
    return float((made.detach().clamp(0, 1) - target).abs().mean())
