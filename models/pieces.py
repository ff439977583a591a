"""The parts of a preset without their weights: transformer, text encoder and decoder of the right sizes.

Used on the meta device to reckon with, and by load.py to be filled. What stands in where there are no files (a
tokenizer, random numbers) is here too. Knows nothing of files, devices or streams.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from models.config import Umt5Config
from models.presets import Preset
from models.refined_codec import RefinedCodec, RefinedCodecConfig
from models.text import WordEncoder, WordEncoderConfig
from models.tiny_decoder import TinyDecoder, TinyDecoderConfig
from models.tokenizer import END, PADDING, UNKNOWN, PromptTokenizer
from models.transformer import Transformer
from models.umt5 import Umt5Encoder
from models.vae import LinearCodec, LinearCodecConfig

if TYPE_CHECKING:
    from models.wan_vae import WanVae

Decoding: TypeAlias = "LinearCodec | TinyDecoder | WanVae"


def make_decoder(preset: Preset) -> Decoding:
    """The decoder that the preset names."""
    channels = preset.video.latent_channels
    match preset.decoder:
        case "linear" | "refined":
            linear = LinearCodecConfig(channels=channels, side=preset.video.latent_stride)
            return LinearCodec(linear) if preset.decoder == "linear" else RefinedCodec(RefinedCodecConfig(linear))
        case "tiny":
            return TinyDecoder(preset.tiny or TinyDecoderConfig(latent_channels=channels))
        case "full":
            # Imported where it is used: it is of a large library, which no other decoder needs.
            from models.wan_vae import WanVae

            assert preset.vae is not None, "checked when the options were"
            return WanVae(preset.vae)


def make_transformer(preset: Preset, dtype: torch.dtype) -> Transformer:
    """On the meta device."""
    with torch.device("meta"):
        return Transformer(preset.transformer).to(dtype)


def make_word_encoder(preset: Preset, vocabulary: tuple[str, ...] | None = None) -> WordEncoder:
    """The preset's, or one of its sizes where it names no text encoder; without words it knows none."""
    config = preset.transformer
    text = preset.text or WordEncoderConfig(dim=config.text_dim, text_len=config.text_len, heads=1, layers=0)
    return WordEncoder(replace(text, vocabulary=vocabulary) if vocabulary else text)


def make_umt5(preset: Preset, tokenizer: PromptTokenizer, *, dtype: torch.dtype) -> Umt5Encoder:
    """On the meta device, of a preset that has one."""
    assert preset.umt5 is not None, "asked for presets with such an encoder only"
    with torch.device("meta"):
        return Umt5Encoder(preset.umt5, tokenizer, text_len=preset.transformer.text_len).to(dtype)


def stand_in_tokenizer(config: Umt5Config) -> PromptTokenizer:
    """One piece for each letter, for an encoder without its files."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = pre_tokenizers.ByteLevel.alphabet()
    pieces = [PADDING, END, UNKNOWN, *sorted(letters)][: config.vocabulary]
    tokenizer = Tokenizer(models.BPE(vocab={piece: n for n, piece in enumerate(pieces)}, merges=[], unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PromptTokenizer(tokenizer, source=Path("random weights"))


@torch.no_grad()
def randomise(module: nn.Module) -> None:
    """Scale all weights so that activations stay finite and every input is felt in the output."""
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel() if "modulation" not in name else 4 * parameter.shape[-1]
            parameter.normal_(0.0, fan_in**-0.5)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.02)


@torch.no_grad()
def give_random_memory(module: nn.Module, device: torch.device) -> None:
    """Fill a module that was made on the meta device."""
    module.to_empty(device=device)
    flat: list[Tensor] = [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.ndim < 2]
    for tensor in flat:
        tensor.fill_(1.0)  # norms, and the deviation of the data; what is a bias is drawn next
    randomise(module)
