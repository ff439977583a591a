"""The stages `distill` and `long`: the generator learns from its own streams what the guided teacher would have made.

Three networks: the generator, the teacher (its averaged start, frozen, guided) and the critic (begun as the teacher,
trained on what the generator makes). Every update takes a chunk of its own from the generator's streams; the generator
is updated at every few of them, the critic at all. `distill` makes short streams anew; `long` goes on to minutes, with
a switch and its recache on the way. Knows the losses' names only; how a run is kept is in run.py.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cache.text_kv import TextKeysValues
from models.config import SamplerConfig
from models.sampler import add_noise, make_schedule
from models.text import CachedTextEncoder
from models.train.adapters import (
    AdapterConfig,
    adapter_state,
    add_adapters,
    base_state,
    load_adapters,
    merged_state,
)
from models.train.course import Chunk, Course
from models.train.dmd import critic_loss, guided, matching_gradient, matching_loss, ode_endpoint, score_levels
from models.train.optim import Optimiser
from models.train.pool import BLOCK_FRAMES
from models.train.prompts import PromptFiles, PromptSource, WorldPrompts
from models.train.rows import TokenGrid
from models.train.run import Stateful, Trainer
from models.train.sampling import FOUR_STEPS
from models.train.scores import StretchScorer
from models.train.settings import StageConfig
from models.transformer import Transformer

BETAS = (0.0, 0.999)


@dataclass(slots=True)
class DistillTally:
    """Sums for the next log line."""

    generator: list[float] = field(default_factory=list)
    critic: list[float] = field(default_factory=list)
    gradient: list[float] = field(default_factory=list)


class DistillTrainer(Trainer):
    """Stages `distill` and `long`."""

    def set_up(self) -> None:
        config, sizes = self.config, self.config.sizes
        self.encoder = CachedTextEncoder(self.bundle.text_encoder.requires_grad_(False), capacity=1024)
        self.generator_net = self.bundle.transformer
        self.teacher = copy.deepcopy(self.generator_net).requires_grad_(False)
        self.critic = copy.deepcopy(self.generator_net)
        self.trained = _trained(self.generator_net, config.adapters, seed=config.seed)
        critic = _trained(self.critic, config.adapters, seed=config.seed + 1)
        self.optimiser = Optimiser([], self.trained, rates=config.rates, betas=BETAS)
        self.critic_optimiser = Optimiser([], critic, rates=config.critic_rates, betas=BETAS)
        self.grid = TokenGrid(self.generator_net.config.head_dim, BLOCK_FRAMES, sizes.rows, sizes.columns)
        self.scorers: dict[tuple[int, int], StretchScorer] = {}
        self.course = Course(
            config.course,
            self.generator_net,
            embed=lambda prompts: self._text(self.generator_net, prompts),
            prompts=prompt_source(config),
            schedule=make_schedule(SamplerConfig(steps=FOUR_STEPS, shift=config.shift)),
            side=2 * sizes.rows,
            generator=self.generator,
        )
        self.tally = DistillTally()

    def begin(self) -> None:
        """Nothing to fill: prompts are all the data."""

    def parts(self) -> dict[str, Stateful]:
        return {
            "adapters": _Adapters(self.generator_net),
            "optimiser": self.optimiser,
            "critic_optimiser": self.critic_optimiser,
            "critic": self.critic,
            "teacher": self.teacher,
            "course": self.course,
        }

    def weights(self) -> dict[str, Tensor]:
        """The weights without adapters; those are a part of their own."""
        return self._state(base_state(self.generator_net))

    def average(self) -> dict[str, Tensor]:
        """The averaged weights, adapters added to them."""
        kept = [parameter.detach().clone() for parameter in self.trained]
        with torch.no_grad():
            _put(self.trained, self.optimiser.average)
            state = self._state(merged_state(self.generator_net))
            _put(self.trained, kept)
        return state

    def _state(self, transformer: dict[str, Tensor]) -> dict[str, Tensor]:
        """The bundle's state with this state of the transformer."""
        others = {
            prefix + name: tensor.detach().clone()
            for prefix, module in self.bundle.parts().items()
            if module is not self.generator_net
            for name, tensor in module.state_dict().items()
        }
        return others | {f"transformer.{name}": tensor.clone() for name, tensor in transformer.items()}

    def train_step(self) -> None:
        """Every `generator_every` steps an update of the generator; an update of the critic at each."""
        distill = self.config.distill
        if self.step % distill.generator_every == 0:
            chunk = self.course.next_chunk(gradients=True)
            loss = self._regression(chunk) if distill.objective == "regression" else self._matching(chunk)
            loss.backward()
            self.tally.gradient.append(self.optimiser.step(self.step, self.progress))
            self.tally.generator.append(float(loss.detach()))
        if distill.objective == "dmd":
            self._train_critic()

    def _train_critic(self) -> None:
        with torch.no_grad():
            chunk = self.course.next_chunk(gradients=False)
        sigma, noisy = self._noised(chunk)
        x0 = self._score(self.critic, chunk, noisy, sigma)
        loss = critic_loss(x0, chunk.stretch.scored, sigma_B=sigma)
        loss.backward()
        self.critic_optimiser.step(self.step, self.progress)
        self.tally.critic.append(float(loss.detach()))

    def _matching(self, chunk: Chunk) -> Tensor:
        """Distribution matching: the critic's x0 against the guided teacher's, at one noise level a stream."""
        with torch.no_grad():
            sigma, noisy = self._noised(chunk)
            fake = self._score(self.critic, chunk, noisy, sigma)
            real = self._taught(chunk, noisy, sigma)
            gradient = matching_gradient(chunk.stretch.scored, fake=fake, real=real)
        return matching_loss(chunk.made, gradient)

    def _regression(self, chunk: Chunk) -> Tensor:
        """The alternative: the end of the guided teacher's own path from what the exit passes were given."""

        def predict(noisy: Tensor, level: float) -> Tensor:
            return self._taught(chunk, noisy, torch.full((noisy.shape[0],), level, device=noisy.device))

        target = ode_endpoint(predict, chunk.noisy, chunk.sigma, substeps=self.config.distill.substeps)
        return (chunk.made - target).square().mean() / target.square().mean()

    def _taught(self, chunk: Chunk, noisy: Tensor, sigma_B: Tensor) -> Tensor:
        """The guided teacher's x0."""
        with_text = self._score(self.teacher, chunk, noisy, sigma_B)
        guidance = self.config.distill.guidance
        if guidance == 0:
            return with_text
        nothing = (self.config.distill.negative_prompt,) * len(chunk.prompts)
        without = self._score(self.teacher, chunk, noisy, sigma_B, prompts=nothing)
        return guided(with_text, without, guidance=guidance)

    def _noised(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        x = chunk.stretch.scored
        sigma = score_levels(x.shape[0], shift=self.config.shift, generator=self.generator).to(x.device)
        noise = torch.randn(x.shape, generator=self.generator).to(x)
        return sigma, add_noise(x, noise, sigma[:, None, None, None, None])

    def _score(
        self,
        network: Transformer,
        chunk: Chunk,
        noisy: Tensor,
        sigma_B: Tensor,
        *,
        prompts: Sequence[str] | None = None,
    ) -> Tensor:
        stretch = chunk.stretch
        key = (stretch.latents.shape[1] // BLOCK_FRAMES, stretch.first_new)
        if key not in self.scorers:
            self.scorers[key] = StretchScorer(
                self.grid, streams=noisy.shape[0], blocks=key[0], first_new=key[1], device=noisy.device
            )
        text = self._text(network, chunk.prompts if prompts is None else prompts)
        return self.scorers[key](network, stretch, noisy, sigma_B=sigma_B, text=text)

    def _text(self, network: Transformer, prompts: Sequence[str]) -> TextKeysValues:
        """Copies: what an encoder makes in inference mode cannot take part in a pass with gradients."""
        embedded = torch.stack([self.encoder.encode(prompt).embedding.clone() for prompt in prompts])
        return network.embed_text(embedded.to(self.device))

    def log_line(self) -> dict[str, Any]:
        tally, self.tally = self.tally, DistillTally()
        named = {"generator": tally.generator, "critic": tally.critic, "gradient_norm": tally.gradient}
        return {name: round(sum(values) / len(values), 5) if values else None for name, values in named.items()}


class _Adapters:
    """The generator's adapters as a part of the checkpoint; nothing where its weights are trained themselves."""

    def __init__(self, transformer: Transformer) -> None:
        self.transformer = transformer

    def state_dict(self) -> dict[str, Any]:
        return adapter_state(self.transformer)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        load_adapters(self.transformer, state)


def prompt_source(config: StageConfig) -> PromptSource:
    """Files where the configuration names them, the small world otherwise."""
    if not config.prompts:
        return WorldPrompts()
    return PromptFiles.read(Path(config.prompts), Path(config.later_prompts) if config.later_prompts else None)


def _put(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _trained(network: Transformer, config: AdapterConfig, *, seed: int) -> list[nn.Parameter]:
    return add_adapters(network, config, seed=seed) if config.rank else list(network.parameters())
