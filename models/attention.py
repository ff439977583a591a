"""Attention behind one signature, over several kernels.

`attention(q, k, v)` is softmax(q k^T / sqrt(D)) v over [B, N, H, D] without a mask: the block-causal structure of
this family is in which keys a pass is given, never in a mask. Kernels are torch's SDPA (cuDNN, flash, memory
efficient, its plain form, or torch's own choice), xformers and FlashAttention 3 on CUDA, and a reference in plain
float64 that tests compare with. Knows nothing of caches or prompts.

Legend: B batch, N queries, T keys, H heads, D width of a head.
"""

import importlib.util
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from models.errors import ConfigError

Kernel = Literal["auto", "cudnn", "flash", "flash3", "efficient", "plain", "xformers", "reference"]
KERNELS: tuple[Kernel, ...] = ("auto", "cudnn", "flash", "flash3", "efficient", "plain", "xformers", "reference")

_SDPA: dict[str, SDPBackend] = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "plain": SDPBackend.MATH,
}
_CUDA_ONLY = ("cudnn", "efficient", "flash3", "xformers")
_PACKAGES = {"xformers": "xformers (extra `gpu`)", "flash3": "flash_attn_interface (FlashAttention 3, for Hopper)"}


def check_kernel(kernel: Kernel, device: torch.device | str) -> None:
    """Raise ConfigError where `kernel` is unknown or cannot run on `device`."""
    if kernel not in KERNELS:
        raise ConfigError(f"attention kernel must be one of {', '.join(KERNELS)}, not {kernel!r}", field="attention")
    if kernel in _CUDA_ONLY and torch.device(device).type != "cuda":
        raise ConfigError(f"attention kernel {kernel!r} needs a CUDA device, not {device}", field="attention")
    package = _PACKAGES.get(kernel)
    if package is not None and importlib.util.find_spec(package.split()[0]) is None:
        raise ConfigError(f"attention kernel {kernel!r} needs the package {package}", field="attention")


def attention(q_BNHD: Tensor, k_BTHD: Tensor, v_BTHD: Tensor, *, kernel: Kernel = "auto") -> Tensor:
    """Softmax attention, scale 1/sqrt(D), every query over every key. Returns [B, N, H, D]."""
    if kernel == "reference":
        return reference_attention(q_BNHD, k_BTHD, v_BTHD)
    if kernel == "flash3":
        # As below; the package is of no index and is built by whoever wants it.
        from flash_attn_interface import flash_attn_func

        made = flash_attn_func(q_BNHD, k_BTHD, v_BTHD)
        flash: Tensor = made[0] if isinstance(made, tuple) else made
        return flash
    if kernel == "xformers":
        # Imported here: on a machine without CUDA the package is not installed, and its import is slow.
        from xformers.ops import memory_efficient_attention

        out: Tensor = memory_efficient_attention(q_BNHD, k_BTHD, v_BTHD)
        return out
    heads_first = (q_BNHD.transpose(1, 2), k_BTHD.transpose(1, 2), v_BTHD.transpose(1, 2))
    if kernel == "auto":
        return scaled_dot_product_attention(*heads_first).transpose(1, 2)
    with sdpa_kernel(_SDPA[kernel]):
        return scaled_dot_product_attention(*heads_first).transpose(1, 2)


def reference_attention(q_BNHD: Tensor, k_BTHD: Tensor, v_BTHD: Tensor) -> Tensor:
    """The definition, in float64: what every kernel is measured against."""
    q, k, v = (tensor.double() for tensor in (q_BNHD, k_BTHD, v_BTHD))
    scores_BHNT = torch.einsum("bnhd,bthd->bhnt", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("bhnt,bthd->bnhd", scores_BHNT.softmax(-1), v).to(q_BNHD.dtype)


class Attend(Protocol):
    """How self-attention meets the past: given one layer's queries, keys and values, what comes out."""

    def attend(self, layer: int, q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor) -> Tensor: ...


class FullAttention:
    """The tokens of the pass among themselves, no past: training on single blocks, and tests."""

    def __init__(self, kernel: Kernel = "auto") -> None:
        self.kernel: Kernel = kernel

    def attend(self, layer: int, q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor) -> Tensor:
        del layer
        return attention(q_BNHD, k_BNHD, v_BNHD, kernel=self.kernel)
