"""Kernels of a GPU against the definition, in the dtype that is served. Chosen with `-m gpu`."""

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from models.attention import KERNELS, Kernel, attention, check_kernel, reference_attention

pytestmark = pytest.mark.gpu

# [batch, queries, keys, heads, width]: a small one, odd lengths, and those of the 1.3B at a tenth of its tokens.
# Packages that are not there are left out; kernels of torch's own are there always.
PACKAGES: dict[Kernel, str] = {"xformers": "xformers", "flash3": "flash_attn_interface"}
PRESENT = [kernel for kernel in KERNELS if kernel not in PACKAGES or find_spec(PACKAGES[kernel]) is not None]
SHAPES = ((1, 8, 24, 2, 64), (2, 77, 333, 3, 64), (1, 468, 1872, 12, 128), (1, 1, 512, 12, 128))


def draw(shape: tuple[int, int, int, int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    batch, queries, keys, heads, width = shape
    generator = torch.Generator().manual_seed(3)
    sizes = ((batch, queries, heads, width), (batch, keys, heads, width), (batch, keys, heads, width))
    q, k, v = (torch.randn(size, generator=generator).to("cuda", dtype) for size in sizes)
    return q, k, v


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", PRESENT)
def test_kernels_agree_in_bfloat16(kernel: Kernel, shape: tuple[int, int, int, int, int]) -> None:
    check_kernel(kernel, "cuda")
    q, k, v = draw(shape, torch.bfloat16)
    out = attention(q, k, v, kernel=kernel)
    assert (out.shape, out.dtype, out.device.type) == (q.shape, torch.bfloat16, "cuda")
    exact = reference_attention(q.double(), k.double(), v.double())
    # Numbers of size 1 are stored to 2^-9, and the weights of the softmax are rounded once before they are summed.
    assert (out.double() - exact).abs().max() < 2e-2
    assert (out.double() - exact).abs().mean() < 1e-3


@pytest.mark.parametrize("kernel", ["auto", "efficient", "plain", "reference"])
def test_kernels_agree_in_float32(kernel: Kernel) -> None:
    q, k, v = draw(SHAPES[1], torch.float32)
    exact = reference_attention(q.double(), k.double(), v.double())
    assert (attention(q, k, v, kernel=kernel).double() - exact).abs().max() < 1e-4


@pytest.mark.parametrize("kernel", PRESENT)
def test_keys_may_be_a_view_of_a_larger_cache(kernel: Kernel) -> None:
    q, k, v = draw((1, 48, 300, 2, 64), torch.bfloat16)
    view = attention(q, k[:, :144], v[:, :144], kernel=kernel)
    copied = attention(q, k[:, :144].contiguous(), v[:, :144].contiguous(), kernel=kernel)
    assert torch.equal(view, copied)


@pytest.mark.parametrize("kernel", PRESENT)
def test_a_kernel_gives_the_same_bits_twice(kernel: Kernel) -> None:
    """Restoring rests on it."""
    q, k, v = draw(SHAPES[2], torch.bfloat16)
    assert torch.equal(attention(q, k, v, kernel=kernel), attention(q, k, v, kernel=kernel))
