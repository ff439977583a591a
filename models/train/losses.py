"""How noisy a training block is, how much each error weighs, and the loss of one pass.

Knows the transformer and the sampler's own formulas (`add_noise`, `model_input`, `to_x0`), so that training and
inference mean the same by a noise level. Knows nothing about where the rows come from. Errors where the object is
count more: it covers a tenth of the picture and is most of what a prompt says.
"""

from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from cache.text_kv import TextKeysValues
from models.attention import Attend
from models.config import TRAINING_TIMESTEPS
from models.rope import Rotation
from models.sampler import add_noise, model_input, to_x0
from models.text import WordEncoder
from models.transformer import PassContext, Transformer

SMALLEST_SIGMA: Final = 0.05


@dataclass(frozen=True, slots=True)
class NoiseLevels:
    """The distribution of sigma in training: mostly where the few sampling steps are."""

    shift: float = 3.0
    lowest: float = 0.15
    """Smallest nominal level before the shift."""
    pure_share: float = 0.12
    """Share of blocks at sigma 1, where the text is the only source."""
    even_share: float = 0.08
    """Share drawn evenly from all of 0.02 to 1."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Noise levels [count]."""
        nominal = self.lowest + (1 - self.lowest) * torch.rand(count, generator=generator)
        sigma = self.shift * nominal / (1 + (self.shift - 1) * nominal)
        even = 0.02 + 0.98 * torch.rand(count, generator=generator)
        chance = torch.rand(count, generator=generator)
        sigma = torch.where(chance < self.even_share, even, sigma)
        return torch.where(chance > 1 - self.pure_share, 1.0, sigma)


def level_weight(sigma: Tensor) -> Tensor:
    """Weight of a noise level: small errors near clean pictures count as much as large ones in noise."""
    floor = sigma.clamp(min=SMALLEST_SIGMA)
    return ((1 - floor).square() + floor.square()) / floor.square()


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """One pass: R blocks of F latent frames, each with its text, noise and loss weight."""

    latents: Tensor
    """[R,F,C,H,W]."""
    cover: Tensor
    """[R,F,H,W]: the object's share of every latent pixel."""
    noise: Tensor
    """Like `latents`."""
    sigma: Tensor
    """[R]."""
    loss_weight: Tensor
    """[R]: 0 for clean rows."""
    tokens: Tensor
    """[P,L] the distinct prompts."""
    prompt: Tensor
    """[R]: which prompt each row is under."""

    def to(self, device: torch.device) -> "TrainingRows":
        """The same rows, moved."""
        return TrainingRows(*(getattr(self, item.name).to(device) for item in fields(self)))


@dataclass(frozen=True, slots=True)
class RowErrors:
    """Mean squared error of each row, over the whole picture and where the object is: [R]."""

    whole: Tensor
    object: Tensor


def predict_x0(
    transformer: Transformer, noisy: Tensor, *, sigma_R: Tensor, text: TextKeysValues, rope: Rotation, attend: Attend
) -> Tensor:
    """The clean latents the model expects [R,F,C,H,W], one noise level a row."""
    config = transformer.config
    data_std = getattr(transformer, "data_std", None)
    sigma = sigma_R[:, None, None, None, None]
    time = transformer.embed_time(TRAINING_TIMESTEPS * sigma_R[:, None])
    given = model_input(config.prediction, noisy, sigma, data_std)
    output = transformer(given, time=time, context=PassContext(rope, text, attend))
    return to_x0(config.prediction, output, noisy=noisy, sigma=sigma, data_std=data_std)


def text_rows(transformer: Transformer, encoder: WordEncoder, tokens_PL: Tensor, prompt_R: Tensor) -> TextKeysValues:
    """Cross-attention keys and values of every row, each distinct prompt encoded once."""
    text = transformer.embed_text(encoder(tokens_PL))
    return TextKeysValues(text.keys_LBTHD[:, prompt_R], text.values_LBTHD[:, prompt_R])


def row_loss(
    transformer: Transformer,
    encoder: WordEncoder,
    *,
    batch: TrainingRows,
    rope: Rotation,
    attend: Attend,
    object_weight: float,
) -> tuple[Tensor, RowErrors]:
    """The weighted loss of a pass, and the plain errors of its rows for the log."""
    sigma = batch.sigma[:, None, None, None, None]
    noisy = add_noise(batch.latents, batch.noise, sigma)
    text = text_rows(transformer, encoder, batch.tokens, batch.prompt)
    x0 = predict_x0(transformer, noisy, sigma_R=batch.sigma, text=text, rope=rope, attend=attend)
    error = (x0 - batch.latents).square()
    place = error.mean(dim=2)  # [R,F,H,W]
    object_place = (2 * batch.cover).clamp(max=1)
    weight = 1 + (object_weight - 1) * object_place
    row = (place * weight).mean(dim=(1, 2, 3)) / weight.mean(dim=(1, 2, 3))
    row_weight = batch.loss_weight * level_weight(batch.sigma)
    loss = (row * row_weight).sum() / batch.loss_weight.sum()
    on_object = (place * object_place).sum(dim=(1, 2, 3)) / object_place.sum(dim=(1, 2, 3)).clamp(min=1e-6)
    return loss, RowErrors(whole=place.mean(dim=(1, 2, 3)).detach(), object=on_object.detach())
