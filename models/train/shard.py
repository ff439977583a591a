"""One transformer over several devices (FSDP2), and what that leaves on each of them.

Self-attention and feed-forward layers of every block are groups of their own, gathered when they run; the rest (text,
time, cross-attention, norms) is the outermost group, since its weights are also used outside of a forward pass. Knows
torch's sharding; knows nothing of training.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from models.transformer import Transformer

OUTSIDE_FORWARD = ("embed_text", "embed_time")
"""Methods that use weights and are called by themselves."""


def shard(transformer: Transformer, mesh: DeviceMesh, *, dtype: torch.dtype = torch.bfloat16) -> Transformer:
    """Shard in place; computed in `dtype`, gradients reduced in float32."""
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in transformer.blocks:
        fully_shard(block.self_attn, mesh=mesh, mp_policy=policy)
        fully_shard(block.ffn, mesh=mesh, mp_policy=policy)
    fully_shard(transformer, mesh=mesh, mp_policy=policy)
    for method in OUTSIDE_FORWARD:
        register_fsdp_forward_method(transformer, method)
    return transformer


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor; any other as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@dataclass(frozen=True, slots=True)
class ShardBytes:
    """What one transformer leaves on one of several devices, in bytes."""

    weights: int
    """This device's part of them, as they are kept."""
    gathered: int
    """The most that is put together at one time: the outermost group and the largest of the others, two at a time."""
    gradients: int
    optimiser: int
    """Two moments and the average of what is trained."""

    @property
    def total(self) -> int:
        return self.weights + self.gathered + self.gradients + self.optimiser


def shard_bytes(transformer: Transformer, *, devices: int, kept: torch.dtype, computed: torch.dtype) -> ShardBytes:
    """From shapes alone; the transformer may be on the meta device."""
    groups = [module for block in transformer.blocks for module in (block.self_attn, block.ffn)]
    inner = [_numbers(group) for group in groups]
    total, trained = _numbers(transformer), _numbers(transformer, trained=True)
    numbers_here = -(-total // devices)
    trained_here = -(-trained // devices)
    return ShardBytes(
        weights=numbers_here * kept.itemsize,
        gathered=(total - sum(inner) + 2 * max(inner)) * computed.itemsize,
        gradients=trained_here * torch.float32.itemsize,
        optimiser=3 * trained_here * torch.float32.itemsize,
    )


def _numbers(module: nn.Module, *, trained: bool = False) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad or not trained)
