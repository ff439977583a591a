"""Low-rank adapters to train: beside every linear layer of the blocks a pair of thin ones, the layer itself frozen.

The same targets and the same sum as models/lora.py reads back: W + alpha / rank x B A, B zero at first, so that new
adapters change nothing. Knows the transformer's modules; knows nothing of how they are trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.train.shard import local, whole
from models.transformer import Transformer
from models.weights import write_safetensors

DOWN: Final = "lora_A"
UP: Final = "lora_B"


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """Size and weight of the adapters; a rank of 0 trains the weights themselves."""

    rank: int = 0
    alpha: float = 0.0


class AdaptedLinear(nn.Module):
    """A frozen linear layer and its adapter."""

    def __init__(self, base: nn.Linear, config: AdapterConfig) -> None:
        super().__init__()
        self.base = base
        self.scale = config.alpha / config.rank
        where = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_A = nn.Linear(base.in_features, config.rank, bias=False, **where)
        self.lora_B = nn.Linear(config.rank, base.out_features, bias=False, **where)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.scale * self.lora_B(self.lora_A(x))
        return out


def add_adapters(transformer: Transformer, config: AdapterConfig, *, seed: int) -> list[nn.Parameter]:
    """Freeze the transformer and give every linear layer of its blocks an adapter; returns what is to be trained."""
    transformer.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for block in transformer.blocks:
            _adapt(block, config)
    return [parameter for parameter in transformer.parameters() if parameter.requires_grad]


def _adapt(block: nn.Module, config: AdapterConfig) -> None:
    linears = [(name, module) for name, module in block.named_modules() if isinstance(module, nn.Linear)]
    for name, module in linears:
        parent, _, own_name = name.rpartition(".")
        setattr(block.get_submodule(parent), own_name, AdaptedLinear(module, config))


def adapter_state(transformer: Transformer) -> dict[str, Tensor]:
    """The adapters alone, by the layer they belong to: `blocks.0.self_attn.q.lora_A.weight`."""
    return {name: tensor.detach() for name, tensor in transformer.state_dict().items() if _is_adapter(name)}


def load_adapters(transformer: Transformer, state: Mapping[str, Tensor]) -> None:
    """Take what `adapter_state` gave."""
    own = {name: local(tensor) for name, tensor in adapter_state(transformer).items()}
    if own.keys() != state.keys():
        raise ValueError(f"expected {len(own)} adapters of the same names, got {sorted(own.keys() ^ state.keys())[:4]}")
    for name, tensor in own.items():
        tensor.copy_(state[name])


def base_state(transformer: Transformer) -> dict[str, Tensor]:
    """The frozen weights under the names that they have without adapters."""
    return {
        name.replace(".base.", "."): tensor.detach()
        for name, tensor in transformer.state_dict().items()
        if not _is_adapter(name)
    }


def merged_state(transformer: Transformer) -> dict[str, Tensor]:
    """The weights with the adapters added to them, under the names that they have without."""
    state = base_state(transformer)
    for name, module in transformer.named_modules():
        if isinstance(module, AdaptedLinear):
            added = module.scale * (module.lora_B.weight @ module.lora_A.weight)
            state[f"{name}.weight"] = (module.base.weight + added).detach()
    return state


def write_adapters(transformer: Transformer, path: Path) -> None:
    """A file that models/lora.py reads: pairs by layer, the alpha beside each."""
    scales = {name: module for name, module in transformer.named_modules() if isinstance(module, AdaptedLinear)}
    tensors = {name: whole(tensor) for name, tensor in adapter_state(transformer).items()}
    for name, module in scales.items():
        tensors[f"{name}.alpha"] = torch.tensor(module.scale * module.lora_A.out_features)
    write_safetensors(path, tensors, {})


class AdapterPart:
    """A transformer's adapters as a part of a checkpoint; where they are sharded, this process's shards."""

    def __init__(self, transformer: Transformer) -> None:
        self.transformer = transformer

    def state_dict(self) -> dict[str, Any]:
        return {name: local(tensor) for name, tensor in adapter_state(self.transformer).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        load_adapters(self.transformer, state)


@torch.no_grad()
def put(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Overwrite parameters in place."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _is_adapter(name: str) -> bool:
    return f".{DOWN}." in name or f".{UP}." in name
