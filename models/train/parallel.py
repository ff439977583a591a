"""Several processes that train one set of weights: gradients are averaged, everything else is a process's own.

Begun by `torchrun` (or whatever sets what it sets); alone, every function does nothing. Each process draws its own
data from its own seed. Knows torch.distributed; knows nothing about what is trained.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor


def join(device: torch.device) -> None:
    """Join the other processes where this one was begun as one of several."""
    if distributed.is_torchelastic_launched() and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def rank() -> int:
    """The number of this process, 0 alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def mesh(device: torch.device) -> DeviceMesh:
    """All processes in a row; one that is alone joins itself."""
    if not distributed.is_initialized():
        alone = distributed.HashStore()  # type: ignore[attr-defined]  # public, but not listed as such
        distributed.init_process_group("gloo", store=alone, rank=0, world_size=1)
    return init_device_mesh(device.type, (distributed.get_world_size(),))


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """The mean of all processes' gradients in place of this one's."""
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if any(isinstance(gradient, DTensor) for gradient in gradients):
        return  # reduced already where it was sharded
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    parts = flat.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(own) for part, own in zip(parts, gradients, strict=True)])


def as_first(value: float, device: torch.device) -> float:
    """The first process's value: what decides for all (time used) must be the same in all."""
    if not distributed.is_initialized():
        return value
    shared: Tensor = torch.tensor([value], dtype=torch.float64, device=device)
    distributed.broadcast(shared, src=0)
    return float(shared)
