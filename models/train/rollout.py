"""Several streams at once through the cache, for training: the passes, plans and sampler of inference, batched.

Knows the transformer, the window's plans and the sampler; knows nothing of losses. All streams of a batch have the
same length and change their prompts at the same block. Finished latents are rounded as a served stream's are.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cache.kv import KVCache
from cache.recache import Mode, rebuild
from cache.text_kv import TextKeysValues
from cache.window import PassPlan, WindowSpec, WindowState
from models.attention import attention
from models.config import TRAINING_TIMESTEPS
from models.parts import LATENT_DTYPES
from models.passes import CachedPasses
from models.sampler import Schedule, denoise_block, model_input, to_x0
from models.transformer import PassContext, Transformer

Noise = Callable[[], Tensor]
"""Fresh noise [B,F,C,H,W] for every call."""


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """Attention of a pass with gradients: the past from the cache, the pass's own keys and values as they are."""

    cache: KVCache
    plan: PassPlan

    def attend(self, layer: int, q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor) -> Tensor:
        keys, values = self.cache.read(layer, plan=self.plan)
        past = self._past(keys.shape[1])
        # Indexing copies, so that later writes to the cache do not reach what backward needs.
        return attention(q_BNHD, torch.cat([keys[:, past], k_BNHD], dim=1), torch.cat([values[:, past], v_BNHD], dim=1))

    def _past(self, tokens: int) -> Tensor:
        """Which of the cache's tokens are not the pass's own."""
        own = torch.zeros(tokens, dtype=torch.bool)
        per_frame = self.cache.shape.tokens_per_frame
        for span in self.plan.writes:
            own[span.slot * per_frame : (span.slot + span.length) * per_frame] = True
        return (~own).nonzero()[:, 0].to(self.cache.keys_LBNHD.device)


@dataclass(frozen=True, slots=True)
class RolloutModel:
    """What is rolled out: the network, its window, the height and width of its latents."""

    transformer: Transformer
    size: tuple[int, int]
    window: WindowSpec = field(default_factory=WindowSpec)


@dataclass(frozen=True, slots=True)
class LastPass:
    """What the last denoising pass of a block is given, and its level."""

    noisy: Tensor
    sigma: float


class Rollout:
    """A batch of streams that goes on block by block."""

    def __init__(self, model: RolloutModel, *, text: TextKeysValues) -> None:
        transformer, spec = model.transformer, model.window
        self.transformer = transformer
        self.passes = CachedPasses(transformer, spec, height=model.size[0], width=model.size[1])
        self.latent_dtype = LATENT_DTYPES[str(transformer.dtype).removeprefix("torch.")]
        self.batch = text.keys_LBTHD.shape[1]
        self.cache = self.passes.new_cache(self.batch)
        self.window = WindowState(spec)
        self.text = text
        self.history: deque[Tensor] = deque(maxlen=-(-spec.slots // spec.block_frames))

    @torch.no_grad()
    def block(self, schedule: Schedule, noise: Noise, *, start: Tensor | None = None) -> Tensor:
        """The next block's x0, not finished yet. With `start`, denoising begins from it at the first level."""
        plan = self.window.plan_block()
        context = self.passes.prepare(self.cache, plan, text=self.text)
        x0 = denoise_block(
            lambda noisy, step: self._predict(noisy, schedule.sigmas[step], context),
            noise() if start is None else start,
            schedule,
            renoise=lambda _: noise(),
            interrupted=lambda: False,
        )
        assert x0 is not None, "never interrupted"
        return x0

    def exit_pass(self, noisy: Tensor, sigma: float) -> Tensor:
        """One denoising pass of the next block with gradients; the past gets none."""
        plan = self.window.plan_block()
        context = self.passes.prepare(self.cache, plan, text=self.text)
        own = PassContext(context.rope, self.text, OwnKeys(self.cache, plan))
        return self._predict(noisy, sigma, own)

    @torch.no_grad()
    def finish(self, latents: Tensor, *, last: LastPass | None = None) -> Tensor:
        """Take the next block's latents as final: round them, run the clean pass, go on. Returns them rounded.

        Args:
            last: the pass whose keys and values are kept in place of the clean pass's.
        """
        rounded = latents.detach().to(self.latent_dtype).float()
        plan = self.window.plan_block()
        self.history.append(rounded)
        self.window = self.window.advance()
        if last is None:
            self._rebuild(plan)
        else:
            self._repeat(plan, last)
        return rounded

    @torch.no_grad()
    def switch(self, text: TextKeysValues, mode: Mode = "recache") -> None:
        """Change all prompts from the next block on."""
        self.text = text
        self.window, plan = rebuild(self.window, mode, sink="keep")
        if mode == "cut":
            self.history.clear()
        if plan is not None:
            self._rebuild(plan)

    def _predict(self, noisy: Tensor, sigma: float, context: PassContext) -> Tensor:
        model = self.transformer
        prediction, data_std = model.config.prediction, getattr(model, "data_std", None)
        time = self.passes.embed_timestep(TRAINING_TIMESTEPS * sigma)
        output = model(model_input(prediction, noisy, sigma, data_std), time=time, context=context)
        return to_x0(prediction, output, noisy=noisy, sigma=sigma, data_std=data_std)

    def _rebuild(self, plan: PassPlan) -> None:
        time = self.passes.embed_timestep(0.0)
        self.passes.rebuild(self.cache, plan, frames=self._frames, text=self.text, time=time)

    def _repeat(self, plan: PassPlan, last: LastPass) -> None:
        model = self.transformer
        noisy = last.noisy.detach().to(self.latent_dtype).float()
        given = model_input(model.config.prediction, noisy, last.sigma, getattr(model, "data_std", None))
        time = self.passes.embed_timestep(TRAINING_TIMESTEPS * last.sigma)
        self.passes.rebuild(self.cache, plan, frames=lambda *_: given, text=self.text, time=time)

    def _frames(self, first: int, count: int) -> Tensor:
        """Finished latents as the network is given them, from the remembered ones."""
        held = torch.cat(tuple(self.history), dim=1)
        offset = first - (self.window.end - held.shape[1])
        assert 0 <= offset <= held.shape[1] - count, (first, count, self.window.end, held.shape)
        model = self.transformer
        data_std = getattr(model, "data_std", None)
        return model_input(model.config.prediction, held[:, offset : offset + count], 0.0, data_std)
