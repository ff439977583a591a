"""How much of a block's time is spent outside matrix products: seen by torch's own profiler on a few blocks.

Matrix products are those of linear layers, attention and convolutions; all else (norms, modulation, rotations, copies,
and Python between them) is what fused operations and compiled regions are about. Knows the names of torch's operators.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch.profiler import ProfilerActivity, profile, record_function

BLOCKS: Final = 3
_WHOLE: Final = "longtake::blocks"
_PRODUCTS: Final = ("mm", "matmul", "linear", "convolution", "attention", "conv2d", "conv3d")
"""Parts of the names of torch's operators: `addmm`, `bmm`, `_int_mm`, `_scaled_mm`, `mkldnn_linear`,
`mkldnn_convolution`, `_scaled_dot_product_flash_attention`, `_flash_attention_forward`, ..."""


def outside_products(make_block: Callable[[], object], device: torch.device) -> float:
    """The share of the time of some blocks that is not spent in matrix products, between 0 and 1.

    On a GPU of the device's time; on a CPU of the calling thread's.
    """
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as seen, record_function(_WHOLE):
        for _ in range(BLOCKS):
            make_block()
    products = whole = 0.0
    for event in seen.key_averages():
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        whole += spent
        if is_product(event.key):
            products += spent
    return 1 - products / whole if whole else 1.0


def is_product(name: str) -> bool:
    """Whether an operator is a matrix product, by its name."""
    space, _, operator = name.partition("::")
    return space == "aten" and any(part in operator for part in _PRODUCTS)
