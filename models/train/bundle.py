"""The parts of the demo model that are trained and shipped together: codec with decoder, text encoder, transformer.

Knows how to make them new and how to turn them into one flat dictionary and back; knows nothing about training.
Names carry the prefixes of the shipped file (`codec.`, `text_encoder.`, `transformer.`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from models.config import TransformerConfig
from models.refined_codec import RefinedCodec
from models.text import PAD, UNKNOWN, WordEncoder, WordEncoderConfig
from models.train.codec import fit_codec
from models.train.render import Renderer
from models.train.world import VOCABULARY
from models.transformer import Transformer

FULL_VOCABULARY: Final = (PAD, UNKNOWN, *VOCABULARY)


@dataclass(frozen=True, slots=True)
class DemoSizes:
    """The sizes that a training configuration may choose."""

    dim: int = 192
    ffn_dim: int = 576
    num_layers: int = 6
    num_heads: int = 3
    text_dim: int = 96
    text_len: int = 24
    freq_dim: int = 128
    channels: int = 64
    rows: int = 6
    columns: int = 6

    def transformer(self) -> TransformerConfig:
        """The transformer's configuration: EDM output and a learned position, as the demo preset has them."""
        return TransformerConfig(
            dim=self.dim,
            ffn_dim=self.ffn_dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            text_dim=self.text_dim,
            text_len=self.text_len,
            in_channels=self.channels,
            out_channels=self.channels,
            freq_dim=self.freq_dim,
            prediction="edm_x0",
            learned_position=(self.rows, self.columns),
        )

    def text(self) -> WordEncoderConfig:
        """The word encoder's configuration, over the world's vocabulary."""
        return WordEncoderConfig(vocabulary=FULL_VOCABULARY, dim=self.text_dim, text_len=self.text_len)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Codec with its decoder, text encoder and transformer."""

    codec: RefinedCodec
    text_encoder: WordEncoder
    transformer: Transformer

    def parts(self) -> dict[str, nn.Module]:
        """The modules by the prefix of their names."""
        return {"codec.": self.codec, "text_encoder.": self.text_encoder, "transformer.": self.transformer}

    def to(self, device: torch.device) -> "Bundle":
        """The same modules, moved."""
        for module in self.parts().values():
            module.to(device)
        return self

    def state(self) -> dict[str, Tensor]:
        """All tensors by full name, copied."""
        return {
            prefix + name: tensor.detach().clone()
            for prefix, module in self.parts().items()
            for name, tensor in module.state_dict().items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Fill the modules from `state`; every tensor has to be there and to fit."""
        for prefix, module in self.parts().items():
            own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
            module.load_state_dict(own, strict=True)


def empty_bundle(sizes: DemoSizes, seed: int) -> Bundle:
    """Newly initialised modules, an unfitted codec and a decoder that adds nothing to it yet."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        bundle = Bundle(RefinedCodec(), WordEncoder(sizes.text()), Transformer(sizes.transformer()))
        _initialise(bundle.transformer)
    return bundle


def new_bundle(sizes: DemoSizes, renderer: Renderer, *, seed: int) -> Bundle:
    """A bundle to start training from: the codec fitted, the channels' deviations set."""
    bundle = empty_bundle(sizes, seed)
    bundle.codec.load_state_dict(fit_codec(renderer).state_dict(), strict=False)
    clips = renderer.clips(64, 24, switch_share=0.3, generator=torch.Generator().manual_seed(seed + 1))
    latents = bundle.codec.encode(clips.frames.flatten(0, 1).cpu())
    assert isinstance(bundle.transformer.data_std, Tensor)
    bundle.transformer.data_std.copy_(latents.std(dim=(0, 2, 3)))
    return bundle


@torch.no_grad()
def _initialise(transformer: Transformer) -> None:
    """Small residual branches and an output of zero, so that training starts at the preconditioned mean."""
    std = transformer.config.dim**-0.5
    for module in transformer.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=std, a=-3 * std, b=3 * std)
            nn.init.zeros_(module.bias)
    for block in transformer.blocks:
        block.modulation.normal_(std=0.02)
        block.modulation[:, [2, 5]] += 0.5  # gates: half open, so that no branch waits for its gate
        block.cross_attn.o.weight.mul_(0.7)
    projection = transformer.time_projection[1]
    assert isinstance(projection, nn.Linear)
    projection.weight.mul_(0.3)
    transformer.head.head.weight.zero_()
    transformer.pos_embed.normal_(std=0.3)
