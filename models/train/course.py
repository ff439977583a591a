"""Streams that go on from chunk to chunk in training: prompts, one switch with recache, the cache that stays.

Every chunk is a few blocks, all left at the same random sampling step: those passes before it and all of the past are
without gradients, the pass itself is with them if asked. A chunk goes on from the model's own cache, also where the
weights have moved on since it was written. Knows rollouts and prompts; knows nothing of losses. Its state can be saved
and taken up again exactly.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cache.text_kv import TextKeysValues
from cache.window import WindowState
from models.sampler import Schedule, add_noise
from models.train.pool import BLOCK_FRAMES
from models.train.prompts import Pairs, PromptSource
from models.train.rollout import LastPass, Rollout, RolloutModel
from models.train.scores import Stretch
from models.train.world import choose

Embed = Callable[[Sequence[str]], TextKeysValues]
"""Cross-attention keys and values of prompts, by the generator's present weights."""


@dataclass(frozen=True, slots=True)
class CourseConfig:
    """How long streams are and in which chunks they are made."""

    streams: int = 4
    chunk_blocks: int = 3
    overlap_blocks: int = 0
    """Blocks of the chunk before that are scored with: the teacher sees them, the generator gets no gradient there."""
    total_blocks: int = 3
    switches: bool = False
    """Whether every stream changes its prompt once, at the beginning of a chunk."""
    reuse_last_pass: bool = False
    """Whether streams go on from the keys and values of each block's last denoising pass, not of a clean pass."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one chunk gave."""

    stretch: Stretch
    """The overlap and the chunk, without gradients."""
    made: Tensor
    """The chunk's x0 [B,F,C,H,W], with gradients if asked."""
    noisy: Tensor
    """What the exit passes were given."""
    sigma: float
    prompts: tuple[str, ...]
    """One a stream: what the whole stretch is scored under."""


class Course:
    """A batch of streams on their way."""

    def __init__(
        self,
        config: CourseConfig,
        model: RolloutModel,
        *,
        embed: Embed,
        prompts: PromptSource,
        schedule: Schedule,
        generator: torch.Generator,
    ) -> None:
        if config.total_blocks < config.chunk_blocks:
            chunk = f"a chunk of {config.chunk_blocks}"
            raise ValueError(f"expected total_blocks of at least {chunk}, got {config.total_blocks}")
        self.config = config
        self.model = model
        self.embed = embed
        self.source = prompts
        self.schedule = schedule
        self.generator = generator
        self.made = 0
        """Blocks made of the present streams; 0 before the first."""
        self.switch = config.total_blocks
        self.prompts: Pairs = ((), ())
        self.rollout: Rollout | None = None

    def next_chunk(self, *, gradients: bool) -> Chunk:
        """Make the next chunk; new streams where the present ones are at their end."""
        config = self.config
        if self.rollout is None or self.made + config.chunk_blocks > config.total_blocks:
            self._begin()
        rollout = self._ready()
        step = choose(self.schedule.steps, self.generator)
        before = list(rollout.history)[len(rollout.history) - min(config.overlap_blocks, self.made) :]
        blocks = [self._block(rollout, step, gradients) for _ in range(config.chunk_blocks)]
        self.made += config.chunk_blocks
        final = [*before, *(made.detach() for made, _ in blocks)]
        return Chunk(
            stretch=Stretch(torch.cat(final, dim=1), first_new=len(before)),
            made=torch.cat([made for made, _ in blocks], dim=1),
            noisy=torch.cat([noisy for _, noisy in blocks], dim=1),
            sigma=self.schedule.sigmas[step],
            prompts=self._prompts(self.made - 1),
        )

    def _begin(self) -> None:
        config = self.config
        self.prompts = self.source.draw(config.streams, self.generator)
        chunks = config.total_blocks // config.chunk_blocks
        places = max(chunks - 1, 1)
        drawn = config.chunk_blocks * (1 + choose(places, self.generator))
        self.switch = drawn if config.switches and chunks > 1 else config.total_blocks
        self.made = 0
        self.rollout = None

    def _ready(self) -> Rollout:
        """The rollout under the text of the next block by the present weights; the switch happens here."""
        text = self.embed(self._prompts(self.made))
        if self.rollout is None:
            self.rollout = Rollout(self.model, text=text)
        elif self.made == self.switch:
            self.rollout.switch(text)
        self.rollout.text = text
        return self.rollout

    def _prompts(self, block: int) -> tuple[str, ...]:
        return self.prompts[int(block >= self.switch)]

    def _block(self, rollout: Rollout, step: int, gradients: bool) -> tuple[Tensor, Tensor]:
        sigmas = self.schedule.sigmas
        noisy = self._noise()
        if step > 0:
            x0 = rollout.block(Schedule(sigmas[:step], 0.0), self._noise, start=noisy)
            noisy = add_noise(x0, self._noise(), sigmas[step])
        with torch.set_grad_enabled(gradients):
            made = rollout.exit_pass(noisy, sigmas[step])
        rollout.finish(made, last=self._last_pass(made, noisy, step))
        return made, noisy

    def _last_pass(self, made: Tensor, noisy: Tensor, step: int) -> LastPass | None:
        """The pass that is kept of a block that was left at `step`: noise again, where it was left before the last."""
        if not self.config.reuse_last_pass:
            return None
        sigma = self.schedule.sigmas[-1]
        given = noisy if step + 1 == self.schedule.steps else add_noise(made.detach(), self._noise(), sigma)
        return LastPass(given, sigma)

    def _noise(self) -> Tensor:
        transformer = self.model.transformer
        shape = (self.config.streams, BLOCK_FRAMES, transformer.config.in_channels, *self.model.size)
        return torch.randn(shape, generator=self.generator).to(transformer.device)

    def state_dict(self) -> dict[str, Any]:
        """Where the streams stand; the generator's state is the run's."""
        state: dict[str, Any] = {"made": self.made, "switch": self.switch, "prompts": self.prompts}
        if self.rollout is not None:
            cache, window = self.rollout.cache, self.rollout.window
            state |= {
                "keys": cache.keys_LBNHD,
                "values": cache.values_LBNHD,
                "sink_keys": cache.sink_keys_LBTHD,
                "sink_shift": cache.sink_shift,
                "window": [window.end, window.sink_start],
                "history": list(self.rollout.history),
            }
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.made, self.switch = int(state["made"]), int(state["switch"])
        first, second = state["prompts"]
        self.prompts = (tuple(first), tuple(second))
        self.rollout = None
        if "keys" not in state:
            return
        with torch.no_grad():
            text = self.embed(self._prompts(max(self.made - 1, 0)))
        rollout = Rollout(self.model, text=text)
        rollout.cache.keys_LBNHD.copy_(state["keys"])
        rollout.cache.values_LBNHD.copy_(state["values"])
        rollout.cache.sink_keys_LBTHD.copy_(state["sink_keys"])
        rollout.cache.sink_shift = int(state["sink_shift"])
        end, sink_start = state["window"]
        rollout.window = WindowState(rollout.window.spec, end=end, sink_start=sink_start)
        rollout.history.extend(latents.to(self.model.transformer.device) for latents in state["history"])
        self.rollout = rollout
