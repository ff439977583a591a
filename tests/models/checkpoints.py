"""Small checkpoints of the published layouts, for tests: a transformer's weights, its adapters, and their files."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.config import TransformerConfig
from models.lora import target_shapes
from models.transformer import Transformer

SMALL = TransformerConfig(
    dim=24, ffn_dim=32, num_layers=2, num_heads=2, text_dim=8, text_len=6, in_channels=4, out_channels=4, freq_dim=16
)
RANK = 3


def random_weights(config: TransformerConfig = SMALL, *, seed: int = 0) -> dict[str, Tensor]:
    """All weights of a transformer, by our names."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = Transformer(config).state_dict()
    return {name: 0.1 * torch.randn(tensor.shape, generator=generator) for name, tensor in shapes.items()}


def random_adapters(config: TransformerConfig = SMALL, *, rank: int = RANK, seed: int = 1) -> dict[str, Tensor]:
    """Both halves of every target, by the names of the PEFT library."""
    generator = torch.Generator().manual_seed(seed)
    halves: dict[str, Tensor] = {}
    for name, (out, width) in target_shapes(config):
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        halves[f"{stem}.lora_A.weight"] = torch.randn(rank, width, generator=generator)
        halves[f"{stem}.lora_B.weight"] = torch.randn(out, rank, generator=generator)
    return halves


def write_checkpoint(folder: Path, weights: Mapping[str, Tensor], *, name: str = "base.pt") -> Path:
    """As a training run saves it: one dictionary of several, under the wrapper's prefix."""
    path = folder / name
    torch.save({"generator": {f"model.{key}": tensor for key, tensor in weights.items()}, "step": 7}, path)
    return path


def write_adapters(folder: Path, adapters: Mapping[str, Tensor], *, name: str = "lora.pt") -> Path:
    path = folder / name
    torch.save({"generator_lora": dict(adapters)}, path)
    return path
