"""Small files and models of the published layouts, for tests of text encoder and VAE: random, seconds to make."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn

from models.config import Umt5Config, WanVaeConfig

SMALL_UMT5 = Umt5Config(vocabulary=96, dim=16, heads=2, head_dim=4, ffn_dim=24, layers=2, buckets=8, max_distance=16)
SMALL_VAE = WanVaeConfig(dim=4, num_res_blocks=1)

PIECES = ("▁", "▁a", "▁red", "▁blue", "▁ball", "▁sea", "▁snow", "▁night", "in", "s", "&", ",", ".", "e", "é", "▁the")


def write_tokenizer(path: Path) -> Path:
    """A tokenizer.json like the published one: unigram pieces, `▁` for a space, an end mark behind every text."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -1.0 - i) for i, piece in enumerate(PIECES))]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(path))
    return path


@torch.no_grad()
def fill(module: nn.Module, *, seed: int = 0) -> None:
    """Weights with which every part is felt."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        values = torch.randn(parameter.shape, generator=generator)
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
        offset = 1.0 if "norm" in name or "gamma" in name else 0.0
        parameter.copy_(values * scale + offset)
