"""The stages `distill` and `long`: the generator learns from its own streams what the guided teacher would have made.

Three networks: the generator, the teacher (its averaged start, frozen, guided) and the critic (begun as the teacher,
trained on what the generator makes). Every update takes a chunk of its own from the generator's streams; the generator
is updated at every few of them, the critic at all. `distill` makes short streams anew; `long` goes on to minutes, with
a switch and its recache on the way. Knows the losses' names only; how a run is kept is in run.py.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cache.text_kv import TextKeysValues
from models.presets import DEMO
from models.sampler import add_noise
from models.text import CachedTextEncoder
from models.train import parallel
from models.train.adapters import AdapterPart, adapter_state, add_adapters, base_state, merged_state, put
from models.train.course import Chunk, Course
from models.train.dmd import critic_loss, guided, matching_gradient, matching_loss, ode_endpoint, score_levels
from models.train.networks import of_bundle, of_preset
from models.train.optim import Optimiser
from models.train.pool import BLOCK_FRAMES
from models.train.prompts import PromptFiles, PromptSource, WorldPrompts
from models.train.rows import TokenGrid
from models.train.run import Stateful, Trainer, load_average
from models.train.sampling import FOUR_STEPS
from models.train.scores import StretchScorer
from models.train.settings import StageConfig
from models.train.shard import shard, whole
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

    def load(self, saved: dict[str, Any] | None) -> None:
        """The demo's bundle, or the networks of another preset, which come from its files each time."""
        if self.config.preset == DEMO.name:
            super().load(saved)
            sizes = self.config.sizes
            size = (2 * sizes.rows, 2 * sizes.columns)
            steps = self.config.steps or FOUR_STEPS
            self.networks = of_bundle(self.bundle, size, shift=self.config.shift, steps=steps)
        else:
            self.networks = of_preset(self.config, self.device)

    def set_up(self) -> None:
        config, networks = self.config, self.networks
        self.encoder = CachedTextEncoder(networks.text_encoder, capacity=1024)
        self.generator_net = networks.model.transformer
        self.teacher = self._teacher()
        self.critic = copy.deepcopy(self.generator_net)
        self.trained = self._prepare(self.generator_net, seed=config.seed)
        critic = self._prepare(self.critic, seed=config.seed + 1)
        self._prepare(self.teacher, seed=None)
        self.optimiser = Optimiser([], self.trained, rates=config.rates, betas=BETAS)
        self.critic_optimiser = Optimiser([], critic, rates=config.critic_rates, betas=BETAS)
        tokens = self.generator_net.config.token_grid(*networks.model.size)
        self.grid = TokenGrid(self.generator_net.config.head_dim, BLOCK_FRAMES, *tokens)
        self.scorers: dict[tuple[int, int], StretchScorer] = {}
        self.course = Course(
            config.course,
            networks.model,
            embed=lambda prompts: self._text(self.generator_net, prompts),
            prompts=prompt_source(config),
            schedule=networks.schedule,
            generator=self.generator,
        )
        self.tally = DistillTally()

    def _teacher(self) -> Transformer:
        """The generator as it begins, or the network that the configuration names: frozen."""
        teacher = copy.deepcopy(self.generator_net)
        if self.config.teacher:
            average = load_average(Path(self.config.teacher))
            prefix = "transformer."
            own = {name.removeprefix(prefix): value for name, value in average.items() if name.startswith(prefix)}
            teacher.load_state_dict(own)
        return teacher.requires_grad_(False)

    def _prepare(self, network: Transformer, *, seed: int | None) -> list[nn.Parameter]:
        """Adapters and shards where asked for; returns what is trained. No seed: a network that is not trained."""
        if self.config.adapters.rank and seed is not None:
            add_adapters(network, self.config.adapters, seed=seed)
        if self.config.sharded:
            shard(network, parallel.mesh(self.device), dtype=network.dtype)
        return [parameter for parameter in network.parameters() if parameter.requires_grad]

    def begin(self) -> None:
        """Nothing to fill: prompts are all the data."""

    def parts(self) -> dict[str, Stateful]:
        """With adapters, these of both networks; otherwise the critic itself. The teacher is kept with the demo only:
        another preset's is read from its files again."""
        state: dict[str, Stateful] = {
            "optimiser": self.optimiser,
            "critic_optimiser": self.critic_optimiser,
            "course": self.course,
        }
        if self.config.adapters.rank:
            state |= {"adapters": AdapterPart(self.generator_net), "critic_adapters": AdapterPart(self.critic)}
        else:
            state["critic"] = self.critic
        if self.config.preset == DEMO.name:
            state["teacher"] = self.teacher
        return state

    def weights(self) -> dict[str, Tensor]:
        """The weights without adapters; those are a part of their own."""
        return self._state(base_state(self.generator_net))

    def average(self) -> dict[str, Tensor]:
        """The averaged weights, adapters added to them; of another preset than the demo the adapters alone."""
        kept = [parameter.detach().clone() for parameter in self.trained]
        with torch.no_grad():
            put(self.trained, self.optimiser.average)
            if self.config.preset == DEMO.name:
                state = self._state(merged_state(self.generator_net))
            else:
                state = {name: whole(tensor).clone() for name, tensor in adapter_state(self.generator_net).items()}
            put(self.trained, kept)
        return state

    def _state(self, transformer: dict[str, Tensor]) -> dict[str, Tensor]:
        """The demo bundle's state with this state of the transformer."""
        if self.config.preset != DEMO.name:
            return {}
        others = {name: tensor for name, tensor in self.bundle.state().items() if not name.startswith("transformer.")}
        return others | {f"transformer.{name}": whole(tensor).clone() for name, tensor in transformer.items()}

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
        sigma = score_levels(x.shape[0], shift=self.networks.shift, generator=self.generator).to(x.device)
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


def prompt_source(config: StageConfig) -> PromptSource:
    """Files where the configuration names them, the small world otherwise."""
    if not config.prompts:
        return WorldPrompts()
    return PromptFiles.read(Path(config.prompts), Path(config.later_prompts) if config.later_prompts else None)
