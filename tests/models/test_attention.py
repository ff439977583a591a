"""Every kernel that runs on a CPU against the definition in float64, and refusals that name the field.

What needs a GPU is in tests/gpu.
"""

import importlib.util
from importlib.machinery import ModuleSpec

import pytest
import torch
from torch import Tensor

from models.attention import KERNELS, FullAttention, Kernel, attention, check_kernel, reference_attention
from models.errors import ConfigError

ON_CPU: tuple[Kernel, ...] = ("auto", "flash", "plain", "reference")
ON_CUDA: tuple[Kernel, ...] = ("cudnn", "efficient", "flash3", "xformers")
SHAPES = (
    (1, 1, 1, 1, 2),
    (2, 7, 13, 3, 6),
    (1, 5, 40, 2, 24),
    (3, 64, 17, 1, 128),
    (1, 1, 9, 4, 10),
    (2, 33, 2, 5, 44),
)


def draw(shape: tuple[int, int, int, int, int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B, N, H, D], keys and values [B, T, H, D]."""
    batch, queries, keys, heads, width = shape
    generator = torch.Generator().manual_seed(seed)
    sizes = ((batch, queries, heads, width), (batch, keys, heads, width), (batch, keys, heads, width))
    q, k, v = (torch.randn(size, generator=generator) for size in sizes)
    return q, k, v


def by_loops(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One query of one head at a time."""
    out = torch.empty_like(q, dtype=torch.float64)
    for batch in range(q.shape[0]):
        for head in range(q.shape[2]):
            for number in range(q.shape[1]):
                scores = k[batch, :, head].double() @ q[batch, number, head].double() / q.shape[-1] ** 0.5
                weights = scores.exp() / scores.exp().sum()
                out[batch, number, head] = weights @ v[batch, :, head].double()
    return out


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_is_the_definition(shape: tuple[int, int, int, int, int]) -> None:
    q, k, v = draw(shape)
    assert (reference_attention(q.double(), k.double(), v.double()) - by_loops(q, k, v)).abs().max() < 1e-12
    assert reference_attention(q.bfloat16(), k.bfloat16(), v.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", ON_CPU)
def test_kernels_on_a_cpu_agree(kernel: Kernel, shape: tuple[int, int, int, int, int]) -> None:
    q, k, v = draw(shape)
    out = attention(q, k, v, kernel=kernel)
    assert (out.shape, out.dtype) == (q.shape, torch.float32)
    assert (out - by_loops(q, k, v)).abs().max() < 1e-5


@pytest.mark.parametrize("kernel", ON_CPU)
def test_keys_may_be_a_view_of_a_larger_cache(kernel: Kernel) -> None:
    q, k, v = draw((2, 6, 20, 3, 8))
    keys, values = k[:, :11], v[:, :11]
    assert (attention(q, keys, values, kernel=kernel) - by_loops(q, keys, values)).abs().max() < 1e-5


@pytest.mark.parametrize("kernel", ON_CPU)
def test_large_scores_stay_finite(kernel: Kernel) -> None:
    """A query that is one key times a thousand gets that key's value."""
    _, k, v = draw((1, 5, 5, 2, 16))
    k = k / k.norm(dim=-1, keepdim=True)
    out = attention(1000 * k, k, v, kernel=kernel)
    assert (out - v).abs().max() < 1e-5


@pytest.mark.parametrize("kernel", ON_CPU)
def test_gradients_flow(kernel: Kernel) -> None:
    tensors = [tensor.requires_grad_() for tensor in draw((1, 4, 6, 2, 8))]
    attention(*tensors, kernel=kernel).square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in tensors)


def test_full_attention_is_over_the_pass_alone() -> None:
    q, k, v = draw((2, 6, 6, 3, 8))
    for kernel in ON_CPU:
        out = FullAttention(kernel).attend(5, q, k, v)
        assert torch.equal(out, attention(q, k, v, kernel=kernel))
    assert torch.equal(FullAttention().attend(0, q, k, v), attention(q, k, v))


@pytest.mark.parametrize("kernel", ON_CPU)
def test_kernels_of_a_cpu_are_accepted(kernel: Kernel) -> None:
    check_kernel(kernel, "cpu")
    check_kernel(kernel, torch.device("cpu"))


def test_all_kernels_are_tested() -> None:
    assert set(ON_CPU) | set(ON_CUDA) == set(KERNELS)


@pytest.mark.parametrize("kernel", ON_CUDA)
def test_kernels_of_a_gpu_are_refused_on_a_cpu(kernel: Kernel) -> None:
    with pytest.raises(ConfigError, match=f"{kernel}.*needs a CUDA device, not cpu") as caught:
        check_kernel(kernel, "cpu")
    assert (caught.value.field, caught.value.code) == ("attention", "config_invalid")


@pytest.mark.parametrize("kernel", ["", "Flash", "math", "sdpa", "flash "])
def test_an_unknown_kernel_lists_the_known_ones(kernel: str) -> None:
    with pytest.raises(ConfigError, match=f"one of {', '.join(KERNELS)}, not '{kernel}'") as caught:
        check_kernel(kernel, "cuda")  # type: ignore[arg-type]
    assert caught.value.field == "attention"


@pytest.mark.parametrize("installed", [False, True])
def test_xformers_has_to_be_installed(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        assert name == "xformers"
        return ModuleSpec(name, None) if installed else None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    if installed:
        check_kernel("xformers", "cuda:0")
        return
    with pytest.raises(ConfigError, match="needs the package xformers") as caught:
        check_kernel("xformers", "cuda:0")
    assert caught.value.field == "attention"


@pytest.mark.parametrize("kernel", ["cudnn", "flash", "efficient", "plain", "auto"])
def test_kernels_of_torch_are_accepted_on_a_gpu(kernel: Kernel) -> None:
    check_kernel(kernel, "cuda")
